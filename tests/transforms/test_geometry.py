from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundle.data.errors import DataError
from bundle.transforms.geometry import Geometry, crop_box, fit


def framed(height: int, width: int, top: int, left: int, bottom: int, right: int) -> np.ndarray:
    """White in black: [top + height + bottom, left + width + right]."""
    return np.pad(np.full((height, width), 255, dtype=np.uint8), ((top, bottom), (left, right)))


@st.composite
def geometries(draw: st.DrawFn) -> Geometry:
    """How a framed image of any shape lies in a square of any size, perhaps seen at half its scale."""
    height, width = draw(st.integers(8, 120)), draw(st.integers(8, 120))
    borders = [draw(st.integers(0, 20)) for _ in range(4)]
    pixels = framed(height, width, *borders)
    original = draw(st.sampled_from([None, (2 * pixels.shape[0], 2 * pixels.shape[1])]))
    return fit(pixels, draw(st.integers(16, 96)), draw(st.sampled_from(["pad", "stretch"])), original)[1]


def test_crop_box_is_half_open() -> None:
    assert crop_box(framed(3, 4, top=1, left=2, bottom=5, right=6)) == (1, 2, 4, 6)


def test_crop_box_of_an_image_without_border_or_light() -> None:
    assert crop_box(framed(3, 4, 0, 0, 0, 0)) == (0, 0, 3, 4)
    assert crop_box(np.zeros((3, 4), dtype=np.uint8)) == (0, 0, 3, 4)


def test_crop_box_counts_values_above_its_threshold() -> None:
    pixels = np.array([[2, 2, 2], [2, 3, 2], [0, 2, 9]], dtype=np.uint16)
    assert crop_box(pixels) == (0, 0, 3, 3)
    assert crop_box(pixels, threshold=2) == (1, 1, 3, 3)


@given(points=st.lists(st.tuples(st.integers(0, 19), st.integers(0, 29)), min_size=1, max_size=6))
def test_crop_box_equals_the_extremes_of_the_lit_pixels(points: list[tuple[int, int]]) -> None:
    pixels = np.zeros((20, 30), dtype=np.uint8)
    pixels[tuple(zip(*points, strict=True))] = 1
    rows, columns = np.nonzero(pixels)
    assert crop_box(pixels) == (rows.min(), columns.min(), rows.max() + 1, columns.max() + 1)


def test_pad_keeps_the_aspect_and_centres() -> None:
    square, geometry = fit(framed(40, 20, top=3, left=5, bottom=7, right=1), 20)
    assert geometry == Geometry(size=(50, 26), box=(3, 5, 43, 25), scale=(0.5, 0.5), offset=(0, 5), side=20)
    assert geometry.content == (0, 5, 20, 15)
    assert np.array_equal(square, framed(20, 10, 0, 5, 0, 5))


def test_stretch_fills_the_square() -> None:
    square, geometry = fit(framed(40, 20, top=3, left=5, bottom=7, right=1), 10, "stretch")
    assert geometry == Geometry(size=(50, 26), box=(3, 5, 43, 25), scale=(0.25, 0.5), offset=(0, 0), side=10)
    assert (square == 255).all()


def test_shrinking_averages() -> None:
    pixels = np.full((8, 8), 40, dtype=np.uint8)
    pixels[:4, :4] = 0
    pixels[0, 0] = 160  # one of sixteen
    assert fit(pixels, 2)[0].tolist() == [[10, 40], [40, 40]]


@pytest.mark.parametrize("mode", ["pad", "stretch"])
def test_growing_makes_no_blocks(mode: str) -> None:
    ramp = np.linspace(10, 250, 8).astype(np.uint8)[None].repeat(8, axis=0)
    square, _ = fit(ramp, 64, mode)
    assert np.diff(square[0].astype(int)).max() <= 6  # a block would step by 34


@pytest.mark.parametrize("size", [7, 16, 40])
def test_sixteen_bits_scale_to_the_full_eight(size: int) -> None:
    pixels = np.linspace(0, 65535, 16)[None].repeat(16, axis=0).astype(np.uint16)
    pixels[0, 0] = 1
    square, _ = fit(pixels, 16)
    assert square.max() == 255
    assert np.array_equal(square[1], np.arange(0, 256, 17))  # 65535 / 15 is 17 * 257
    assert fit(np.full((30, 30), 65535, dtype=np.uint16), size)[0].min() == 255
    assert fit(np.full((30, 30), 65535 // 2, dtype=np.uint16), size)[0].max() == 127


def test_eight_and_sixteen_bits_look_the_same() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (80, 60)).astype(np.uint8)
    square, geometry = fit(pixels, 32)
    square16, geometry16 = fit(pixels.astype(np.uint16) * 257, 32)
    assert np.abs(square.astype(int) - square16).max() <= 1
    assert geometry == geometry16


def test_half_scale_pixels_map_to_the_original() -> None:
    whole = framed(40, 20, top=4, left=6, bottom=6, right=2)
    expected, drafted = fit(whole, 10)[1], fit(whole[::2, ::2], 10, original=whole.shape)[1]
    assert drafted == expected


def test_points_by_hand() -> None:
    geometry = Geometry(size=(50, 26), box=(3, 5, 43, 25), scale=(0.5, 0.25), offset=(2, 1), side=24)
    assert geometry.points_to_fitted([[5, 3], [9, 13], [0, 0]]).tolist() == [[1, 2], [2, 7], [-0.25, 0.5]]
    assert geometry.points_to_original([[1, 2], [2, 7]]).tolist() == [[5, 3], [9, 13]]
    assert geometry.points_to_fitted(np.zeros((0, 2))).shape == (0, 2)


def test_boxes_are_clipped_to_what_is_shown() -> None:
    geometry = Geometry(size=(50, 26), box=(3, 5, 43, 25), scale=(0.5, 0.5), offset=(0, 5), side=20)
    assert geometry.boxes_to_fitted([[0, 0, 15, 23]]).tolist() == [[5, 0, 10, 10]]
    assert geometry.boxes_to_fitted([[0, 45, 26, 50]]).tolist() == [[5, 20, 15, 20]]  # below the box: no area
    assert geometry.boxes_to_original([[0, 0, 20, 20]]).tolist() == [[0, 3, 26, 43]]
    assert geometry.boxes_to_fitted([]).shape == (0, 4)


@given(geometry=geometries(), data=st.data())
def test_points_and_boxes_come_back(geometry: Geometry, data: st.DataObject) -> None:
    top, left, bottom, right = geometry.box
    x = sorted(data.draw(st.floats(left, right)) for _ in range(2))
    y = sorted(data.draw(st.floats(top, bottom)) for _ in range(2))
    box = [[x[0], y[0], x[1], y[1]]]
    fitted = geometry.boxes_to_fitted(box)
    assert geometry.boxes_to_original(fitted) == pytest.approx(np.array(box), abs=1e-6)
    assert geometry.points_to_original(geometry.points_to_fitted(box[0][:2])) == pytest.approx(box[0][:2], abs=1e-6)
    assert (fitted >= -1e-6).all()
    assert (fitted <= geometry.side + 1e-6).all()


@given(geometry=geometries(), data=st.data())
def test_boxes_follow_the_pixels(geometry: Geometry, data: st.DataObject) -> None:
    """A rectangle drawn as a mask and as a box lands in the same place, within a pixel of either grid."""
    top, left, bottom, right = geometry.box
    y0, x0 = data.draw(st.integers(top, bottom - 4)), data.draw(st.integers(left, right - 4))
    y1, x1 = data.draw(st.integers(y0 + 4, bottom)), data.draw(st.integers(x0 + 4, right))
    mask = np.zeros(geometry.size, dtype=bool)
    mask[y0:y1, x0:x1] = True
    fitted = geometry.mask_to_fitted(mask)
    if fitted.any():
        ftop, fleft, fbottom, fright = crop_box(fitted)
        expected = geometry.boxes_to_fitted([x0, y0, x1, y1])
        assert np.abs(np.array([fleft, ftop, fright, fbottom]) - expected).max() <= 1
        back = crop_box(geometry.mask_to_original(fitted))
        pixel = 1 / np.array(geometry.scale)  # one fitted pixel in original pixels
        slack = np.maximum(pixel, 1).tolist() * 2
        assert (np.abs(np.array(back) - [y0, x0, y1, x1]) <= slack).all()


@given(geometry=geometries())
def test_masks_come_back_on_the_fitted_grid(geometry: Geometry) -> None:
    """From the square to an original that is at least as fine and back, no pixel is lost."""
    top, left, bottom, right = geometry.content
    mask = np.zeros((geometry.side, geometry.side), dtype=np.int16)
    mask[top:bottom, left:right] = np.random.default_rng(0).integers(1, 1000, (bottom - top, right - left))
    back = geometry.mask_to_fitted(geometry.mask_to_original(mask))
    assert back.dtype == np.int16
    if min(geometry.scale) > 0 and max(geometry.scale) <= 1:
        assert np.array_equal(back, mask)
    assert not back[:top].any()
    assert not back[:, right:].any()


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int32, np.int64, np.float32])
def test_masks_keep_their_type_and_stay_nearest(dtype: type) -> None:
    _, geometry = fit(framed(40, 20, top=3, left=5, bottom=7, right=1), 20)
    mask = np.zeros((50, 26), dtype=dtype)
    mask[3:23, 5:15] = 1
    fitted = geometry.mask_to_fitted(mask)
    assert fitted.dtype == dtype
    assert np.array_equal(fitted, framed(10, 5, 0, 5, 10, 10).astype(bool).astype(dtype))
    assert np.array_equal(geometry.mask_to_original(fitted), mask)


def test_masks_of_another_size_are_refused() -> None:
    _, geometry = fit(framed(40, 20, 0, 0, 0, 0), 20)
    with pytest.raises(DataError, match=r"\(20, 40\), but its image is \(40, 20\)"):
        geometry.mask_to_fitted(np.zeros((20, 40)))
    with pytest.raises(DataError, match=r"\(40, 20\), but its image is \(20, 20\)"):
        geometry.mask_to_original(np.zeros((40, 20)))


@pytest.mark.parametrize(
    ("pixels", "mode", "reason"),
    [
        (np.zeros((4, 4), dtype=np.float32), "pad", "float32"),
        (np.zeros((1, 4, 4), dtype=np.uint8), "pad", r"\(1, 4, 4\)"),
        (framed(4, 4, 0, 0, 0, 0), "crop", '"crop"'),
    ],
)
def test_unusable_input_of_fit(pixels: np.ndarray, mode: str, reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        fit(pixels, 8, mode)


@given(
    shape=st.tuples(st.integers(1, 60), st.integers(1, 60)),
    size=st.integers(1, 50),
    mode=st.sampled_from(["pad", "stretch"]),
    dtype=st.sampled_from([np.uint8, np.uint16]),
    seed=st.integers(0, 999),
)
def test_any_shape_fits(shape: tuple[int, int], size: int, mode: str, dtype: type, seed: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 3, shape).astype(dtype) * (np.iinfo(dtype).max // 2)
    square, geometry = fit(pixels, size, mode)
    top, left, bottom, right = geometry.content
    assert square.dtype == np.uint8
    assert square.shape == (size, size)
    assert max(bottom - top, right - left) == size
    outside = square.copy()
    outside[top:bottom, left:right] = 0
    assert not outside.any()
