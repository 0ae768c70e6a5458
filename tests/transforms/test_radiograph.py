from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.data import DataLoader, Dataset
from monai.transforms import Compose
from PIL import Image

from bundle.data.errors import DataError
from bundle.data.phantom import draw_phantom
from bundle.data.phantom_files import write_phantom_dicom
from bundle.transforms import radiograph
from bundle.transforms.radiograph import FitRadiographd, Geometry, LoadRadiographd


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A 40 x 20 radiograph, brighter downwards, in a black frame of 5 px."""
    ramp = np.linspace(50, 250, 40)[:, None].repeat(20, axis=1)
    Image.fromarray(np.pad(ramp, 5).astype(np.uint8)).save(tmp_path / "chest.png")
    return tmp_path / "chest.png"


def test_names_promised_by_this_file() -> None:
    assert all(callable(getattr(radiograph, name)) for name in radiograph.__all__)


def test_loading_gives_channel_first_pixels_and_the_original_size(path: Path) -> None:
    item = LoadRadiographd("image")({"image": str(path), "id": "a"})
    assert item["image"].shape == (1, 50, 30)
    assert item["image"].dtype == np.uint8
    assert item["image"][0, 6, 15] < item["image"][0, 40, 15]
    assert (item["image_size"], item["image_path"], item["id"]) == ((50, 30), str(path), "a")
    assert all(math.isnan(side) for side in item["image_spacing"])


def test_loading_keeps_the_spacing_of_the_original(tmp_path: Path) -> None:
    write_phantom_dicom(draw_phantom(0, 64), tmp_path / "chest.dcm")
    assert LoadRadiographd("image")({"image": tmp_path / "chest.dcm"})["image_spacing"] == (6.25, 6.25)  # 400 mm / 64


def test_the_input_item_is_left_alone(path: Path) -> None:
    item = {"image": path}
    Compose([LoadRadiographd("image"), FitRadiographd("image", 16)])(item)
    assert item == {"image": path}


def test_fitting_gives_a_square_and_its_geometry(path: Path) -> None:
    item = Compose([LoadRadiographd("image"), FitRadiographd("image", 20)])({"image": path})
    assert item["image"].shape == (1, 20, 20)
    assert item["image"].dtype == np.uint8
    assert item["image_geometry"] == Geometry((50, 30), (5, 5, 45, 25), (0.5, 0.5), (0, 5), 20)


def test_stretching(path: Path) -> None:
    item = Compose([LoadRadiographd("image"), FitRadiographd("image", 20, mode="stretch")])({"image": path})
    assert item["image"].min() > 0
    assert item["image_geometry"].scale == (0.5, 1)


def test_masks_follow_their_image(path: Path) -> None:
    mask = np.zeros((2, 50, 30), dtype=np.int64)
    mask[0, 5:25, 5:15] = 3
    fit = FitRadiographd("image", 20, mask_keys=["mask"])
    fitted = fit(LoadRadiographd("image")({"image": path, "mask": mask}))["mask"]
    expected = np.zeros((2, 20, 20), dtype=np.int64)
    expected[0, :10, 5:10] = 3
    assert fitted.dtype == np.int64
    assert np.array_equal(fitted, expected)


def test_masks_follow_an_image_decoded_at_half_scale(tmp_path: Path) -> None:
    pixels = np.pad(np.linspace(60, 250, 400)[:, None].repeat(200, axis=1), 48).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "chest.jpg", quality=100)
    mask = (pixels > 150)[None]
    fit = FitRadiographd("image", 64, mask_keys="mask")
    full = fit(LoadRadiographd("image")({"image": tmp_path / "chest.jpg", "mask": mask}))
    item = LoadRadiographd("image", draft=128)({"image": tmp_path / "chest.jpg", "mask": mask})
    assert item["image"].shape == (1, 248, 148)
    half = fit(item)
    assert half["image_geometry"].size == pixels.shape
    assert (half["mask"] != full["mask"]).mean() < 0.02
    assert ((half["image"] > 150) != half["mask"]).mean() < 0.03


def test_missing_keys(path: Path) -> None:
    with pytest.raises(KeyError):
        LoadRadiographd(["image", "prior"])({"image": path})
    steps = [
        LoadRadiographd(["image", "prior"], allow_missing_keys=True),
        FitRadiographd(["image", "prior"], 16, mask_keys="mask", allow_missing_keys=True),
    ]
    keys = {"image", "image_path", "image_size", "image_spacing", "image_geometry"}
    assert set(Compose(steps)({"image": path})) == keys
    with pytest.raises(KeyError):
        FitRadiographd("image", 16, mask_keys="mask")({"image": np.ones((1, 8, 8), dtype=np.uint8)})


@pytest.mark.parametrize("shape", [(8, 8), (3, 8, 8)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match=r"image: a radiograph \[1, H, W\] is needed"):
        FitRadiographd("image", 16)({"image": np.ones(shape, dtype=np.uint8)})


def test_unreadable_files_name_themselves(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"x\.png"):
        LoadRadiographd("image").__call__({"image": tmp_path / "x.png"})


def test_loaders_collate_images_and_geometries(path: Path) -> None:
    steps = Compose([LoadRadiographd("image"), FitRadiographd("image", 20)])
    batch = next(iter(DataLoader(Dataset([{"image": path}] * 3, steps), batch_size=3)))
    assert batch["image"].shape == (3, 1, 20, 20)
    assert batch["image"].dtype == torch.uint8
    geometry = batch["image_geometry"]
    assert [row.tolist() for row in geometry.size] == [[50] * 3, [30] * 3]
    assert geometry.side.tolist() == [20] * 3
