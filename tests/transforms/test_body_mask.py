from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage
from skimage import morphology
from skimage.draw import disk, ellipse

from bundle.data.radiograph_reader import read_radiograph
from bundle.transforms.body_mask import body_mask
from bundle.transforms.geometry import fit

SIZE = 128


def trunk(air: int = 10, body: int = 180, lung: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """An elliptic trunk in air with two lungs [128, 128], and where the trunk is."""
    image = np.full((SIZE, SIZE), air, dtype=np.uint8)
    inside = np.zeros(image.shape, dtype=bool)
    inside[ellipse(64, 64, 60, 50)] = True
    image[inside] = body
    for column in (44, 84):
        image[ellipse(60, column, 36, 14)] = lung
    return image, inside


def hugs(mask: np.ndarray, body: np.ndarray) -> bool:
    """All of the body, and at most the 4 px of air into which the blur spreads it."""
    return mask[body].all() and not mask[~ndimage.binary_dilation(body, morphology.disk(4))].any()


def test_the_body_with_its_lungs_is_found() -> None:
    image, inside = trunk()
    assert hugs(body_mask(image), inside)


def test_lungs_as_dark_as_air_are_filled() -> None:
    image, inside = trunk(lung=10)
    assert hugs(body_mask(image), inside)


def test_a_lung_that_opens_to_the_air_is_body() -> None:
    image, inside = trunk(lung=70)
    image[:30, 40:48] = 70  # the neck is as dark as the lung
    assert body_mask(image)[inside].all()


def test_a_negative_is_turned_round() -> None:
    image, inside = trunk()
    assert hugs(body_mask(255 - image), inside)


def test_markers_beside_the_body_are_left_out() -> None:
    image, inside = trunk()
    image[4:14, 4:14] = 255
    mask = body_mask(image)
    assert not mask[:16, :16].any()
    assert hugs(mask, inside)


@pytest.mark.parametrize("radius", [20, 30])  # 8 and 17 % of the image
def test_a_body_too_small_is_not_believed(radius: int) -> None:
    image = np.full((SIZE, SIZE), 1, dtype=np.uint8)
    image[disk((64, 64), radius)] = 200
    assert body_mask(image).all()


def test_a_body_that_fills_the_image_is_all_of_it() -> None:
    image = np.full((SIZE, SIZE), 150, dtype=np.uint8)
    image[60:62, 0:6] = 1
    assert body_mask(image).all()


@pytest.mark.parametrize("value", [0, 90, 255])
def test_constant_images_are_all_body(value: int) -> None:
    assert body_mask(np.full((SIZE, SIZE), value, dtype=np.uint8)).all()


@pytest.mark.parametrize("level", [30, 200])
def test_padding_is_never_body(level: int) -> None:
    """Neither beside a body that reaches the edge nor where all of the image is body."""
    image = np.zeros((SIZE, SIZE), dtype=np.uint8)
    image[:, 30:90] = np.random.default_rng(0).integers(level, level + 40, (SIZE, 60))
    mask = body_mask(image)
    assert mask[:, 30:90].all()
    assert not mask[:, :30].any()
    assert not mask[:, 90:].any()


def test_bars_of_padding_change_nothing() -> None:
    image, _ = trunk()
    padded = np.pad(image, ((0, 0), (40, 40)))
    assert np.array_equal(body_mask(padded)[:, 40:-40], body_mask(image))


@given(seed=st.integers(0, 10_000))
def test_the_mask_is_one_solid_piece(seed: int) -> None:
    noise = np.random.default_rng(seed).normal(size=(48, 48))
    smooth = ndimage.gaussian_filter(noise, 5)
    image = np.interp(smooth, (smooth.min(), smooth.max()), (0, 255)).astype(np.uint8)
    mask = body_mask(image)
    assert mask.dtype == bool
    assert mask.any()
    assert ndimage.label(mask, np.ones((3, 3)))[1] == 1
    assert np.array_equal(ndimage.binary_fill_holes(mask), mask)


@given(seed=st.integers(0, 10_000))
def test_the_mask_equals_its_definition(seed: int) -> None:
    """The same from SciPy's filter, components and holes and from Otsu's criterion written out."""
    image, _ = trunk()
    image = np.random.default_rng(seed).normal(image, 25).clip(1, 255).astype(np.uint8)
    smooth = cv2.GaussianBlur(image, (0, 0), 3)
    levels = smooth.ravel().astype(float)
    between = [
        (levels <= t).mean() * (levels > t).mean() * (levels[levels <= t].mean() - levels[levels > t].mean()) ** 2
        for t in range(smooth.min(), smooth.max())
    ]
    bright = ndimage.binary_fill_holes(smooth > (smooth.min() + int(np.argmax(between))) / 2)
    labels, _ = ndimage.label(bright, np.ones((3, 3)))
    assert np.array_equal(body_mask(image), labels == np.bincount(labels.ravel())[1:].argmax() + 1)


@pytest.mark.real
def test_lungs_of_real_radiographs_are_body(data_root: Path) -> None:
    pairs = [
        *_with_masks(data_root / "cxr_pairs" / "images", data_root / "cxr_pairs" / "masks" / "lung"),
        *_with_masks(data_root / "lung_seg" / "images", data_root / "lung_seg" / "masks"),
    ]
    covered = [_share_of_lung_in_body(image, mask) for image, mask in pairs]
    assert len(covered) >= 100
    assert np.mean(covered) > 0.99
    assert np.mean(np.array(covered) < 0.9) < 0.03


def _with_masks(images: Path, masks: Path) -> list[tuple[Path, Path]]:
    """Radiographs that have a lung mask of the same stem."""
    return [(image, mask) for mask in sorted(masks.iterdir()) for image in images.glob(f"{mask.stem}.*")]


def _share_of_lung_in_body(image: Path, mask: Path) -> float:
    square, geometry = fit(read_radiograph(image).pixels, 256)
    lung = geometry.mask_to_fitted(cv2.imread(str(mask), cv2.IMREAD_GRAYSCALE)) > 0
    return body_mask(square)[lung].mean()
