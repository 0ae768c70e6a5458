import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundle.data.errors import DataError
from bundle.transforms.centre_crop import CropCentred, crop_centre
from bundle.transforms.geometry import fit
from bundle.transforms.radiograph import FitRadiographd


def test_centre_and_where_it_was():
    """200 x 400 px fitted to 100 lie 50 high in the middle; the central 80 px show 40 columns less of the original."""
    pixels = np.full((200, 400), 9, dtype=np.uint8)
    square, geometry = crop_centre(*fit(pixels, 100), 80)
    assert square.shape == (80, 80)
    assert (square > 0).any(1).nonzero()[0].tolist() == list(range(15, 65))
    assert geometry.box == (0, 40, 200, 360)
    assert geometry.scale == (0.25, 0.25)
    assert geometry.offset == (15, 0)
    np.testing.assert_array_equal(geometry.points_to_fitted([[40, 0], [200, 100]]), [[0, 15], [40, 40]])
    np.testing.assert_array_equal(geometry.boxes_to_fitted([[0, 0, 80, 40]]), [[0, 15, 10, 25]])


def test_same_size_changes_nothing():
    fitted = fit(np.full((33, 20), 200, dtype=np.uint8), 32)
    square, geometry = crop_centre(*fitted, 32)
    assert square.shape == (32, 32)
    assert geometry == fitted[1]


@given(st.integers(20, 300), st.integers(20, 300), st.integers(30, 64), st.integers(16, 30))
def test_points_stay_within_half_an_original_pixel(height, width, side, size):
    _, geometry = fit(np.ones((height, width), dtype=np.uint8), side)
    start = (side - size) // 2
    if geometry.content[0] >= start + size or geometry.content[1] >= start + size:
        return
    _, cut = crop_centre(np.zeros((side, side)), geometry, size)
    points = np.asarray([[cut.box[1], cut.box[0]], [cut.box[3], cut.box[2]]], dtype=float)
    away = np.abs(cut.points_to_fitted(points) - (geometry.points_to_fitted(points) - start))
    assert (away <= max(0.5 * max(geometry.scale), 0.5) + 1e-9).all()
    assert cut.mask_to_fitted(np.ones((height, width), dtype=np.uint8)).shape == (size, size)


def test_transform_takes_masks_along():
    image = np.full((1, 40, 40), 9, dtype=np.uint8)
    mask = np.zeros((2, 40, 40), dtype=np.uint8)
    mask[1, 20:, :] = 1
    item = FitRadiographd("image", 20, mask_keys="mask")({"image": image, "mask": mask})
    cropped = CropCentred("image", 10, mask_keys="mask")(item)
    assert cropped["image"].shape == (1, 10, 10)
    assert cropped["mask"][1].any(1).tolist() == [False] * 5 + [True] * 5
    assert cropped["image_geometry"].box == (10, 10, 30, 30)
    np.testing.assert_array_equal(cropped["image_geometry"].mask_to_fitted(mask[1]), cropped["mask"][1])


def test_larger_than_the_square_is_refused():
    with pytest.raises(DataError, match="80 px can't be cut out of a radiograph fitted to 64 px"):
        crop_centre(*fit(np.ones((9, 9), dtype=np.uint8), 64), 80)
