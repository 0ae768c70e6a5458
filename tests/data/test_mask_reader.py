"""Masks of every file type hold the numbers that were written, upright."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import SimpleITK
from dicom_files import write_dicom
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from bundle.data.errors import DataError
from bundle.data.mask_reader import read_mask, split_classes

# No symmetry and unequal sides: turned, mirrored or transposed it is no longer itself.
NUMBERS = np.array([[0, 1, 2, 3], [0, 0, 1, 2], [3, 0, 0, 0]], dtype=np.uint8)
RED_GREEN_BLUE = [9, 9, 9, 255, 0, 0, 0, 255, 0, 0, 0, 255]


def palette(colours: list[int]) -> Image.Image:
    image = Image.fromarray(NUMBERS).convert("P")
    image.putdata(NUMBERS.ravel().tolist())
    image.putpalette(colours)
    return image


def nifti(path: Path, values: np.ndarray, affine: Any = None) -> None:
    """Values as they lie in the file: first axis to the right."""
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4) if affine is None else affine), path)


def itk(path: Path) -> None:
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(NUMBERS), path)


WRITERS: dict[str, Callable[[Path], object]] = {
    "a.png": lambda path: Image.fromarray(NUMBERS).save(path),
    "b.png": lambda path: Image.fromarray(NUMBERS.astype(np.uint16)).save(path),
    "c.png": lambda path: Image.fromarray(np.stack([NUMBERS] * 3, -1)).save(path),
    "d.png": lambda path: palette(RED_GREEN_BLUE).save(path),
    "e.png": lambda path: palette([0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]).save(path),
    "f.nii": lambda path: nifti(path, NUMBERS.T),
    # one slice, signs of a patient space, floats: a label drawn in Slicer and returned to MONAI Label
    "g.nii.gz": lambda path: nifti(path, NUMBERS.T[..., None].astype(np.float32), np.diag([-1, -1, 1, 1])),
    "h.nii.gz": itk,
}


@pytest.mark.parametrize(("name", "write"), WRITERS.items(), ids=WRITERS.keys())
def test_numbers_are_read_as_written(tmp_path: Path, name: str, write: Callable[[Path], object]) -> None:
    write(tmp_path / name)
    values = read_mask(tmp_path / name)
    assert values.dtype.kind in "ui"
    assert values.tolist() == NUMBERS.tolist()


def test_one_bit(tmp_path: Path) -> None:
    Image.fromarray(NUMBERS > 0).save(tmp_path / "m.png")
    assert read_mask(tmp_path / "m.png").tolist() == (NUMBERS > 0).astype(int).tolist()


def test_a_palette_of_greys_stands_for_its_greys(tmp_path: Path) -> None:
    """As image programs write a white shape on black, whichever index black has."""
    palette([255, 255, 255] + [0, 0, 0] * 3).save(tmp_path / "m.png")
    assert read_mask(tmp_path / "m.png").tolist() == (255 * (NUMBERS == 0)).tolist()


def test_transparent_is_nothing_and_exif_turns(tmp_path: Path) -> None:
    pixels = np.stack([NUMBERS, NUMBERS, NUMBERS, np.where(NUMBERS == 2, 0, 255).astype(np.uint8)], -1)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert read_mask(tmp_path / "a.png").tolist() == np.where(NUMBERS == 2, 0, NUMBERS).tolist()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(NUMBERS).save(tmp_path / "b.png", exif=exif)
    assert read_mask(tmp_path / "b.png").tolist() == np.rot90(NUMBERS, -1).tolist()


REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "colour": (lambda p: Image.fromarray(np.stack([NUMBERS, NUMBERS, 0 * NUMBERS], -1)).save(p, "png"), "in colour"),
    "jpeg": (lambda p: Image.fromarray(NUMBERS).save(p, "jpeg"), "can't be read from a JPEG file; save it as PNG"),
    "dicom": (lambda p: write_dicom(p, NUMBERS.astype(np.uint16)), "can't be read from a DICOM file"),
    "damaged": (lambda p: p.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(30)), "damaged or unsupported PNG"),
    "text": (lambda p: p.write_text("x"), "not a DICOM, PNG, JPEG or NIfTI file"),
    "missing": (lambda p: None, "no such file"),
}


@pytest.mark.parametrize(("write", "reason"), REFUSED.values(), ids=REFUSED.keys())
def test_other_files_are_refused(tmp_path: Path, write: Callable[[Path], object], reason: str) -> None:
    write(tmp_path / "mask")
    with pytest.raises(DataError, match=f"mask: .*{reason}"):
        read_mask(tmp_path / "mask")


@pytest.mark.parametrize("values", [np.array([[-1, 0]]), np.array([[0.5, 1]]), np.array([[np.nan, 1]])])
def test_other_values_are_refused(tmp_path: Path, values: np.ndarray) -> None:
    nifti(tmp_path / "m.nii", values.astype(np.float32))
    with pytest.raises(DataError, match="must be whole numbers from 0"):
        read_mask(tmp_path / "m.nii")
    nifti(tmp_path / "v.nii", np.zeros((3, 3, 2), np.uint8))
    with pytest.raises(DataError, match="shape"):
        read_mask(tmp_path / "v.nii")


def test_classes_are_separated() -> None:
    assert split_classes(NUMBERS, ["any"], "m.png").tolist() == [(NUMBERS > 0).tolist()]
    masks = split_classes(NUMBERS, ["a", "b", "c"], "m.png")
    assert masks.dtype == bool
    assert [mask.tolist() for mask in masks] == [np.equal(NUMBERS, value).tolist() for value in (1, 2, 3)]
    with pytest.raises(DataError, match=r"m\.png: the mask holds the value 3, but for 2 classes .* 2 \(b\)"):
        split_classes(NUMBERS, ["a", "b"], "m.png")


@given(st.binary(max_size=600))
def test_wild_bytes_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "wild"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + content)
    with pytest.raises(DataError, match="wild: "):
        read_mask(path)
