"""Inference on files of every kind: the label map lies on the image's own pixels, in every format."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
from inference_runs import BRIGHT, bright_weights, film, segmented, workflow
from monai.bundle import ConfigWorkflow
from PIL import Image

from bundle.handlers.plain_errors import plain_cause

sys.path.insert(0, str(Path(__file__).parent / "data"))

from dicom_files import make_dicom

STUDY = {
    "PatientBirthDate": "",
    "PatientSex": "",
    "AccessionNumber": "",
    "StudyID": "",
    "StudyDate": "",
    "StudyTime": "",
    "ReferringPhysicianName": "",
    "StudyInstanceUID": "1.2.3",
    "SeriesInstanceUID": "1.2.3.1",
    "SeriesNumber": 1,
    "InstanceNumber": 1,
    "PixelSpacing": [0.2, 0.3],
}


def write_png(path: Path, pixels: np.ndarray) -> None:
    Image.fromarray(pixels).save(path)


def write_jpeg(path: Path, pixels: np.ndarray) -> None:
    Image.fromarray(pixels).save(path, format="JPEG", quality=100)


def write_mono2(path: Path, pixels: np.ndarray) -> None:
    codes = pixels.astype(np.uint16) * 16
    make_dicom(codes, WindowCenter=2040, WindowWidth=4080, **STUDY).save_as(path, enforce_file_format=True)


def write_mono1(path: Path, pixels: np.ndarray) -> None:
    codes = 4080 - pixels.astype(np.uint16) * 16
    tags = {**STUDY, "PhotometricInterpretation": "MONOCHROME1", "WindowCenter": 2041, "WindowWidth": 4080}
    make_dicom(codes, **tags).save_as(path, enforce_file_format=True)


def write_nifti(path: Path, pixels: np.ndarray) -> None:
    nibabel.Nifti1Image(pixels.T, np.diag([-0.3, -0.2, 1, 1])).to_filename(path)


def write_slice(path: Path, pixels: np.ndarray) -> None:
    image = nibabel.Nifti1Image(pixels.T[..., None], np.diag([-0.3, -0.2, 2, 1]) + np.eye(4, k=3) * 7)
    image.header.set_xyzt_units("mm")
    image.to_filename(path)


WRITERS: dict[str, Callable[[Path, np.ndarray], None]] = {
    "grey.png": write_png,
    "lossy.jpg": write_jpeg,
    "mono1.dcm": write_mono1,
    "IM0001": write_mono2,
    "flat.nii.gz": write_nifti,
    "slice.nii": write_slice,
}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bright_weights(tmp_path_factory.mktemp("weights") / "model.pt")


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One film in every kind of file, some below; and files that are no images."""
    folder = tmp_path_factory.mktemp("films")
    (folder / "ward").mkdir()
    for name, write in WRITERS.items():
        write(folder / ("ward" if name.startswith("mono") else "") / name, film())
    (folder / "notes.txt").write_text("no image")
    (folder / ".hidden.png").write_text("no image")
    return folder


@pytest.fixture(scope="module")
def made(films: Path, weights: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[ConfigWorkflow, Path]:
    output = tmp_path_factory.mktemp("out")
    return segmented(films, output, weights, {"probabilities": True}), output


def test_every_kind_of_file_gives_the_same_mask(made: tuple[ConfigWorkflow, Path]) -> None:
    _, output = made
    expected = (film() == BRIGHT).astype(np.uint8)
    masks = {path.name: np.array(Image.open(path)) for path in output.rglob("*.seg.png")}
    assert masks.keys() == {f"{name}.seg.png" for name in WRITERS}
    for name, mask in masks.items():
        assert np.array_equal(mask, expected), name
    assert (output / "ward" / "mono1.dcm.seg.png").is_file()


def test_probabilities_come_on_request(
    made: tuple[ConfigWorkflow, Path], films: Path, weights: Path, tmp_path: Path
) -> None:
    _, output = made
    values = np.array(Image.open(output / "grey.png.lung.png")) / 65535
    logit = 20 * (film() / 255 - 0.5)
    assert np.abs(values - 1 / (1 + np.exp(-logit))).max() < 1e-4
    segmented(films / "grey.png", tmp_path, weights)
    assert [path.name for path in tmp_path.iterdir()] == ["grey.png.seg.png"]


@pytest.mark.parametrize("name", ["grey.png", "IM0001", "mono1.dcm", "slice.nii"])
def test_a_turned_film_has_a_turned_mask(name: str, weights: Path, tmp_path: Path) -> None:
    turns = {
        "mirrored": film()[:, ::-1],
        "turned": np.rot90(film()),
        "upside": film()[::-1],
        "turned3": np.rot90(film(), 3),
    }
    (tmp_path / "films").mkdir()
    for turn, pixels in turns.items():
        WRITERS[name](tmp_path / "films" / f"{turn}.{name}", np.ascontiguousarray(pixels))
    segmented(tmp_path / "films", tmp_path / "out", weights)
    for turn, pixels in turns.items():
        mask = np.array(Image.open(tmp_path / "out" / f"{turn}.{name}.seg.png"))
        assert np.array_equal(mask, pixels == BRIGHT), turn


def test_a_film_larger_than_the_square_keeps_its_pixels(weights: Path, tmp_path: Path) -> None:
    """Black borders are cut off and come back; the outline is right to half a pixel of the square."""
    large = np.kron(film(), np.ones((5, 5), np.uint8))
    framed = np.pad(large, ((30, 7), (0, 55)))
    write_png(tmp_path / "film.png", framed)
    segmented(tmp_path / "film.png", tmp_path / "out", weights)
    mask = np.array(Image.open(tmp_path / "out" / "film.png.seg.png"))
    assert mask.shape == framed.shape
    wrong = mask != (framed == BRIGHT)
    near_edge = np.zeros_like(wrong)
    edge = np.abs(np.gradient((framed == BRIGHT).astype(float))).max(0) > 0
    for row, column in np.argwhere(edge):
        near_edge[max(row - 3, 0) : row + 4, max(column - 3, 0) : column + 4] = True
    assert not wrong[~near_edge].any()


def test_nifti_lies_where_its_image_does(films: Path, weights: Path, tmp_path: Path) -> None:
    segmented(films, tmp_path, weights, {"output_format": "nifti", "probabilities": True})
    expected = (film() == BRIGHT).T
    for name in ("flat.nii.gz", "slice.nii"):
        image, mask = nibabel.load(films / name), nibabel.load(tmp_path / f"{name}.seg.nii.gz")
        assert mask.shape == image.shape
        assert np.array_equal(mask.affine, image.affine)
        assert mask.header.get_xyzt_units() == image.header.get_xyzt_units()
        assert np.array_equal(np.asarray(mask.dataobj).reshape(expected.shape), expected)
    of_dicom = nibabel.load(tmp_path / "ward" / "mono1.dcm.seg.nii.gz")
    assert of_dicom.shape == (48, 64, 1)
    assert np.array_equal(of_dicom.affine, np.diag([-0.3, -0.2, 1, 1]).astype(np.float32))
    assert nibabel.load(tmp_path / "slice.nii.probabilities.nii.gz").shape == (48, 64, 1, 1, 1)


def test_dicom_seg_refers_to_its_radiograph(films: Path, weights: Path, tmp_path: Path) -> None:
    from highdicom.seg import segread

    run = segmented(films, tmp_path, weights, {"output_format": "dicom_seg", "probabilities": True})
    expected = film() == BRIGHT
    seg = segread(tmp_path / "ward" / "mono1.dcm.seg.dcm")
    assert np.array_equal(seg.pixel_array.reshape(expected.shape), expected)
    assert (seg.PatientID, seg.StudyInstanceUID, seg.Modality) == ("MRN-4711", "1.2.3", "SEG")
    assert seg.get_source_image_uids() == [("1.2.3", "1.2.3.1", "1.2.3.4")]
    assert seg.segmented_property_types[0].meaning == "Lung"
    fraction = segread(tmp_path / "IM0001.probabilities.dcm")
    assert np.array_equal(fraction.pixel_array.reshape(expected.shape) > 127, expected)
    refused = {Path(path).name: reason for path, reason in run.parser.get_parsed_content("failures").reasons.items()}
    assert refused.keys() == {"grey.png", "lossy.jpg", "flat.nii.gz", "slice.nii"}
    assert all("choose the output format png or nifti" in reason for reason in refused.values())


def test_unusable_files_cost_a_sentence_each(films: Path, weights: Path, tmp_path: Path) -> None:
    mixed = tmp_path / "films"
    mixed.mkdir()
    (mixed / "text.png").write_text("no image")
    (mixed / "cut.dcm").write_bytes((films / "IM0001").read_bytes()[:3000])
    nibabel.Nifti1Image(np.zeros((8, 8, 8), np.uint8), np.eye(4)).to_filename(mixed / "volume.nii.gz")
    write_png(mixed / "whole.png", film())
    run = segmented(mixed, tmp_path / "out", weights, {"evaluating": ["$@evaluator.run()"]})
    failures = run.parser.get_parsed_content("failures")
    assert {Path(path).name for path in failures.reasons} == {"text.png", "cut.dcm", "volume.nii.gz"}
    assert all(path in reason for path, reason in failures.reasons.items())
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["whole.png.seg.png"]
    with pytest.raises(ValueError, match="3 files could not be segmented"):
        failures.check()


def test_results_in_the_folder_are_not_segmented_again(weights: Path, tmp_path: Path) -> None:
    write_png(tmp_path / "film.png", film())
    for _ in range(2):
        segmented(tmp_path, tmp_path / "out", weights)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["film.png.seg.png"]


@pytest.mark.parametrize("name", ["gif", "PNG", ""])
def test_an_unknown_format_is_refused_before_anything_is_read(name: str, tmp_path: Path) -> None:
    values = {"dataset_dir": str(tmp_path / "none"), "weights": str(tmp_path / "none.pt"), "output_format": name}
    with pytest.raises(RuntimeError) as error:  # MONAI wraps what expressions raise
        workflow(values)
    assert str(plain_cause(error.value)) == f"--output_format {name}: label maps are written as png, nifti or dicom_seg"


def test_every_format_that_is_named_is_there(weights: Path, tmp_path: Path) -> None:
    write_mono2(tmp_path / "film.dcm", film())
    for name in ("png", "nifti", "dicom_seg"):
        segmented(tmp_path / "film.dcm", tmp_path / name, weights, {"output_format": name})
    assert len([path for path in tmp_path.rglob("*.seg.*") if path.is_file()]) == 3


def test_only_unusable_files(weights: Path, tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no image")
    run = segmented(tmp_path, tmp_path / "out", weights)
    assert len(run.parser.get_parsed_content("failures").reasons) == 1


def test_property_check_finds_all(films: Path, weights: Path, tmp_path: Path) -> None:
    made = workflow({"dataset_dir": str(films), "weights": str(weights), "output_dir": str(tmp_path)})
    made.parser["network"] = "@network_def"  # the weights are of another network
    assert made.check_properties() == []
