"""Files of phantoms hold the picture exactly and say that it is synthetic."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image

from bundle.data.errors import DataError
from bundle.data.phantom import SYNTHETIC, Phantom, draw_phantom
from bundle.data.phantom_files import write_mask_png, write_phantom_dicom, write_phantom_png
from bundle.data.phantom_findings import Finding
from bundle.data.radiograph_reader import read_radiograph


@pytest.fixture(scope="module")
def phantom() -> Phantom:
    return draw_phantom(5, 96, [Finding("pleural effusion", "left"), Finding("cardiomegaly")])


def test_png_holds_the_picture_and_says_what_it_is(phantom: Phantom, tmp_path: Path) -> None:
    write_phantom_png(phantom, tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as image:
        assert image.mode == "L"
        assert image.info["Description"] == SYNTHETIC
        assert image.info["Comment"] == "seed 5"
        assert np.array_equal(np.asarray(image), phantom.image)
    assert "ynthetic" in SYNTHETIC
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_mask_png_is_255_inside(phantom: Phantom, tmp_path: Path) -> None:
    write_mask_png(phantom, phantom.mask("cardiomegaly"), tmp_path / "m.png")
    with Image.open(tmp_path / "m.png") as image:
        assert np.array_equal(np.asarray(image), phantom.mask("cardiomegaly") * np.uint8(255))
        assert image.info["Description"] == SYNTHETIC


@pytest.mark.parametrize("bits", [8, 10, 12, 16])
@pytest.mark.parametrize("monochrome1", [False, True])
def test_dicom_shows_the_same_picture_in_both_polarities(
    phantom: Phantom, tmp_path: Path, monochrome1: bool, bits: int
) -> None:
    path = tmp_path / "a.dcm"
    write_phantom_dicom(phantom, path, monochrome1, bits)
    dataset = pydicom.dcmread(path)
    white = 2**bits - 1
    stored = dataset.pixel_array.astype(np.int64)
    if monochrome1:
        assert dataset.PhotometricInterpretation == "MONOCHROME1"
        assert dataset.PresentationLUTShape == "INVERSE"
        stored = white - stored
    else:
        assert dataset.PhotometricInterpretation == "MONOCHROME2"
    assert (dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit) == (8 if bits == 8 else 16, bits, bits - 1)
    assert np.array_equal(np.round(stored * 255 / white), phantom.image)
    radiograph = read_radiograph(path)
    assert np.abs(radiograph.pixels / np.iinfo(radiograph.pixels.dtype).max * 255 - phantom.image).max() < 0.6
    assert radiograph.spacing == pytest.approx((400 / 96, 400 / 96), rel=1e-5)


def test_dicom_is_a_digital_xray_of_nobody(phantom: Phantom, tmp_path: Path) -> None:
    write_phantom_dicom(phantom, tmp_path / "a.dcm")
    dataset = pydicom.dcmread(tmp_path / "a.dcm")
    assert dataset.SOPClassUID == pydicom.uid.DigitalXRayImageStorageForPresentation
    assert dataset.file_meta.MediaStorageSOPInstanceUID == dataset.SOPInstanceUID
    assert (dataset.Modality, dataset.ViewPosition, dataset.BodyPartExamined) == ("DX", phantom.view, "CHEST")
    assert list(dataset.PatientOrientation) == ["L", "F"]
    assert dataset.PatientName == "Phantom^Synthetic"
    assert dataset.PatientID == phantom.patient
    for keyword in ("ImageComments", "DerivationDescription"):
        assert dataset[keyword].value == SYNTHETIC
    for keyword in ("PatientBirthDate", "PatientSex", "StudyDate", "AccessionNumber"):
        assert not dataset[keyword].value
    text = str(dataset).lower()
    assert "effusion" not in text, "the report stays out of the file"


def test_dicom_files_are_reproducible_and_told_apart(phantom: Phantom, tmp_path: Path) -> None:
    for name, monochrome1 in (("a", False), ("b", False), ("c", True)):
        write_phantom_dicom(phantom, tmp_path / name, monochrome1)
    write_phantom_dicom(draw_phantom(5, 96, []), tmp_path / "d")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    headers = [pydicom.dcmread(tmp_path / name) for name in "acd"]
    assert len({header.SOPInstanceUID for header in headers}) == 3
    assert len({header.StudyInstanceUID for header in headers}) == 1


@pytest.mark.parametrize("bits", [7, 17])
def test_impossible_depths_are_refused(phantom: Phantom, tmp_path: Path, bits: int) -> None:
    with pytest.raises(DataError, match=f"{bits} bits"):
        write_phantom_dicom(phantom, tmp_path / "a.dcm", bits=bits)
    assert not list(tmp_path.iterdir())


def test_failed_write_leaves_nothing(phantom: Phantom, tmp_path: Path) -> None:
    (tmp_path / "taken.png").mkdir()
    with pytest.raises(OSError, match=r"taken\.png"):
        write_phantom_png(phantom, tmp_path / "taken.png")
    assert [path.name for path in tmp_path.iterdir()] == ["taken.png"]
