"""Radiographs and segmentations on their way between a DICOMweb server and MONAI Label, without either."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread

from bundle.data.errors import DataError
from bundle.data.mask_reader import read_mask
from bundle.data.radiograph_reader import read_radiograph
from scripts.labelling.dicom_files import SegFiles, film_as_nifti, segmentation_as_nifti
from scripts.labelling.workspace import ROOT

sys.path.insert(0, str(Path(__file__).parents[1] / "data"))

from dicom_files import write_dicom

CODES = np.random.default_rng(0).integers(300, 3700, (12, 20)).astype(np.uint16)
SERIES = {"StudyInstanceUID": "1.2.3", "SeriesInstanceUID": "1.2.3.1", "StudyDate": "", "PixelSpacing": [0.2, 0.3]}


def series(folder: Path, codes: np.ndarray = CODES, **tags: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    write_dicom(folder / "film.dcm", codes, **{**SERIES, **tags})
    return folder


def mask() -> np.ndarray:
    """That no turn and no mirror maps onto itself."""
    values = np.zeros(CODES.shape, np.uint8)
    values[2:9, 3:6] = values[7:9, 3:15] = 1
    return values


def write_mask(path: Path, values: np.ndarray) -> Path:
    Image.fromarray(values).save(path)
    return path


@pytest.mark.parametrize(
    ("tags", "kind"),
    [
        ({}, np.uint16),
        ({"PhotometricInterpretation": "MONOCHROME1"}, np.uint16),
        ({"WindowCenter": 2000, "WindowWidth": 1000}, np.uint16),
        ({"WindowCenter": 2048, "WindowWidth": 8000}, np.uint8),
    ],
)
def test_a_film_shows_what_it_shows_as_a_file(tmp_path: Path, tags: dict[str, Any], kind: type) -> None:
    folder = series(tmp_path / "film", **tags)
    whole = read_radiograph(folder / "film.dcm")
    found = read_radiograph(film_as_nifti(folder))
    assert (found.pixels.dtype, found.spacing) == (kind, pytest.approx((0.2, 0.3)))
    step = 65535 // np.iinfo(kind).max
    assert np.abs(found.pixels * float(step) - whole.pixels).max() <= step / 2 - 0.5
    assert tags != {"WindowCenter": 2048, "WindowWidth": 8000} or whole.pixels.max() < 65535, "nothing was to be kept"


def test_a_series_of_several_films_is_refused(tmp_path: Path) -> None:
    folder = series(tmp_path / "1.2.3.1")
    write_dicom(folder / "side.dcm", CODES)
    with pytest.raises(DataError, match=r"series 1\.2\.3\.1 holds 2 images, .* annotate these from a folder"):
        film_as_nifti(folder)


@pytest.mark.parametrize("suffix", [".png", ".nii.gz"])
def test_an_annotation_comes_back_as_it_was_drawn(tmp_path: Path, suffix: str) -> None:
    film, label = series(tmp_path / "film"), tmp_path / f"label{suffix}"
    if suffix == ".png":
        write_mask(label, mask())
    else:
        nibabel.Nifti1Image(mask().T[..., None], np.diag([-0.3, -0.2, 1, 1])).to_filename(label)
    stored = Path(SegFiles(ROOT).of_annotation(film, label))
    header = dcmread(stored)
    assert (header.Modality, header.PatientID, header.StudyInstanceUID) == ("SEG", "MRN-4711", "1.2.3")
    assert header.ReferencedSeriesSequence[0].SeriesInstanceUID == "1.2.3.1"
    assert [segment.SegmentAlgorithmType for segment in header.SegmentSequence] == ["SEMIAUTOMATIC"]
    back = fetched(tmp_path, film, stored)
    assert back is not None
    np.testing.assert_array_equal(read_mask(back), mask())
    image = nibabel.Nifti1Image.from_filename(film_as_nifti(film))
    np.testing.assert_allclose(nibabel.Nifti1Image.from_filename(back).affine, image.affine)


def test_an_answer_is_marked_as_the_networks(tmp_path: Path) -> None:
    stored = SegFiles(ROOT).of_answer(series(tmp_path / "film"), write_mask(tmp_path / "label.png", mask()))
    assert [segment.SegmentAlgorithmType for segment in dcmread(stored).SegmentSequence] == ["AUTOMATIC"]


def test_an_empty_annotation_is_one(tmp_path: Path) -> None:
    film, label = series(tmp_path / "film"), write_mask(tmp_path / "label.png", mask() * 0)
    back = fetched(tmp_path, film, Path(SegFiles(ROOT).of_annotation(film, label)))
    assert back is not None
    np.testing.assert_array_equal(read_mask(back), mask() * 0)


def test_a_label_of_another_size_is_refused(tmp_path: Path) -> None:
    label = write_mask(tmp_path / "label.png", mask().T.copy())
    with pytest.raises(DataError, match="20 x 12 pixels, but the image 12 x 20"):
        SegFiles(ROOT).of_annotation(series(tmp_path / "film"), label)


def test_segmentations_of_other_things_are_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    film = series(tmp_path / "film")
    stored = Path(SegFiles(ROOT).of_answer(film, write_mask(tmp_path / "label.png", mask())))
    other = dcmread(stored)
    other.SegmentSequence[0].SegmentLabel = "heart"
    other.save_as(stored)
    with caplog.at_level(logging.WARNING, "scripts.labelling.dicom_files"):
        assert fetched(tmp_path, film, stored) is None
        assert segmentation_as_nifti(film, ["lung"], tmp_path) is None
    assert "no class 'heart'" in caplog.text
    assert "of no single radiograph" in caplog.text
    assert "Secret" not in caplog.text


def fetched(folder: Path, film: Path, stored: Path) -> str | None:
    """The segmentation from a cache as MONAI Label has it."""
    Path(film_as_nifti(film)).rename(folder / "1.2.3.1.nii.gz")
    label = folder / "labels" / "final" / "1.9"
    label.mkdir(parents=True)
    stored.rename(label / "seg.dcm")
    return segmentation_as_nifti(label, ["lung"], folder)
