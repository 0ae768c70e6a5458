from __future__ import annotations

import gzip
import math
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from monai.data import decollate_batch
from torch.utils.data import default_collate

from bundle.data.label_map_files import NiftiFiles
from bundle.transforms.geometry import Geometry, fit
from bundle.transforms.label_map import FileAxesd, RestoreLabelMapd, label_map, restore_probabilities
from bundle.transforms.radiograph import LoadRadiographd

sys.path.insert(0, str(Path(__file__).parents[1] / "data"))

from dicom_files import write_dicom

LIKELY, UNLIKELY = 9.0, -9.0


def identity(side: int) -> Geometry:
    return Geometry((side, side), (0, 0, side, side), (1.0, 1.0), (0, 0), side)


def logits(*classes: np.ndarray) -> torch.Tensor:
    """Background of 0, and 9 or -9 where a class is or isn't."""
    maps = [np.where(where, LIKELY, UNLIKELY) for where in classes]
    return torch.from_numpy(np.stack([np.zeros_like(maps[0]), *maps]).astype(np.float32))


def test_the_likeliest_class_wins_where_one_is_likelier_than_not() -> None:
    maps = torch.zeros(3, 1, 4)
    maps[1] = torch.tensor([2.0, 2.0, -1.0, -3.0])
    maps[2] = torch.tensor([1.0, 3.0, -2.0, 0.5])
    item = {"pred": maps, "image_geometry": Geometry((1, 4), (0, 0, 1, 4), (1.0, 1.0), (0, 0), 4)}
    whole = torch.full((3, 4, 4), -5.0)
    whole[:, :1] = maps
    item["pred"] = whole
    assert RestoreLabelMapd("pred")(item)["pred"].tolist() == [[1, 2, 0, 2]]


@given(st.integers(8, 70), st.integers(8, 70), st.integers(0, 9), st.integers(0, 9))
def test_padding_and_borders_are_background(height: int, width: int, above: int, left: int) -> None:
    """All of the square is the class; what was a black border is not."""
    pixels = np.zeros((height + above, width + left), np.uint8)
    pixels[above:, left:] = 100
    square, geometry = fit(pixels, 32)
    assert square.shape == (32, 32)
    found = RestoreLabelMapd("pred")({"pred": logits(np.ones((32, 32), bool)), "image_geometry": geometry})["pred"]
    assert found.dtype == np.uint8
    assert np.array_equal(found > 0, pixels > 0)


def test_values_between_pixels_are_linear() -> None:
    """From 2 to 4 pixels, centres lie at -.25, .25, .75 and 1.25 of the two."""
    geometry = Geometry((4, 4), (0, 0, 4, 4), (0.5, 0.5), (0, 0), 2)
    restored = restore_probabilities(np.array([[[0.0, 1.0], [0.0, 1.0]]], np.float32), geometry) / 65535
    assert np.allclose(restored[0, 0], [0, 0.25, 0.75, 1], atol=1e-4)


def test_probabilities_are_kept_on_request() -> None:
    item = {"pred": torch.zeros(2, 4, 4), "image_geometry": identity(4)}
    assert "pred_probabilities" not in RestoreLabelMapd("pred")(item)
    kept = RestoreLabelMapd("pred", probabilities=True)(item)["pred_probabilities"]
    assert kept.shape == (1, 4, 4)
    assert kept.dtype == np.float32
    assert np.allclose(kept, 0.5, atol=1e-4)


def test_geometry_survives_batches() -> None:
    """Loaders and MONAI's engines make lists of the numbers in a geometry."""
    pixels = np.zeros((20, 30), np.uint8)
    pixels[3:, 5:] = 9
    _, geometry = fit(pixels, 16)
    items = [{"pred": logits(np.ones((16, 16), bool)), "image_geometry": geometry}] * 2
    for item in decollate_batch(default_collate(items)):
        assert np.array_equal(RestoreLabelMapd("pred")(item)["pred"], pixels > 0)


def test_label_map_of_one_class() -> None:
    assert label_map(np.array([[[0, 32767, 32768, 65535]]], np.uint16)).tolist() == [[0, 0, 1, 1]]


UPRIGHT = np.arange(12, dtype=np.uint8).reshape(3, 4) % 5


def file_axes(path: Path) -> dict:
    return FileAxesd("pred")({**LoadRadiographd("image")({"image": str(path)}), "pred": UPRIGHT})


@pytest.mark.parametrize("tags", [{"PixelSpacing": [0.2, 0.3]}, {"ImagerPixelSpacing": [0.2, 0.3]}])
def test_map_of_a_dicom_has_its_spacing(tmp_path: Path, tags: dict[str, list[float]]) -> None:
    """What MONAI Label writes, array and affine, is what this bundle writes as NIfTI, as nibabel reads both."""
    path = write_dicom(tmp_path / "chest.dcm", UPRIGHT * 100, **tags)
    item = file_axes(path)
    assert item["pred"].shape == (4, 3, 1)
    written = nibabel.Nifti1Image(item["pred"], item["image_meta_dict"]["affine"])
    ours = nibabel.Nifti1Image.from_bytes(
        gzip.decompress(NiftiFiles(["a"])(path, UPRIGHT, None, (0.2, 0.3))[".seg.nii.gz"])
    )
    assert written.header.get_zooms() == pytest.approx((0.3, 0.2, 1))
    assert nibabel.aff2axcodes(written.affine) == ("L", "P", "S")
    assert np.allclose(written.affine, ours.affine)
    assert np.array_equal(written.get_fdata(), ours.get_fdata())
    assert np.array_equal(written.get_fdata()[..., 0].T, UPRIGHT)


def test_map_of_a_dicom_without_spacing_has_two_axes(tmp_path: Path) -> None:
    item = file_axes(write_dicom(tmp_path / "chest.dcm", UPRIGHT * 100))
    assert math.isnan(item["image_spacing"][0])
    assert np.array_equal(item["pred"], UPRIGHT.T)
    assert "image_meta_dict" not in item


def test_map_of_a_nifti_has_its_axes_and_affine(tmp_path: Path) -> None:
    affine = np.diag([-0.3, -0.2, 2, 1]) + np.eye(4, k=3) * 7
    for name, shape in (("flat.nii", ()), ("slice.nii", (1,)), ("four.nii", (1, 1))):
        nibabel.Nifti1Image(UPRIGHT.T.reshape(4, 3, *shape), affine).to_filename(tmp_path / name)
        item = file_axes(tmp_path / name)
        assert item["pred"].shape == (4, 3, *shape)
        assert np.array_equal(item["pred"].reshape(4, 3), UPRIGHT.T)
        if shape:
            assert np.allclose(item["image_meta_dict"]["affine"], affine)
