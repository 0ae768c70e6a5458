"""Data lists from one folder a class."""

from __future__ import annotations

import re
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from prepared import prepared

from bundle.data.labelled import labelled_items, list_classes
from bundle.data.phantom import draw_phantom
from bundle.data.phantom_files import write_phantom_dicom
from scripts.prepare import main
from scripts.preparing.header_size import header_size

pytestmark = pytest.mark.filterwarnings("ignore:.*items name no patient")

SPLITS = ("training", "validation", "test")


def picture(path: Path, seed: int) -> None:
    coarse = np.random.default_rng(seed).integers(1, 255, (12, 10), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    ending = path.suffix.lower()
    path.write_bytes(cv2.imencode(ending, cv2.resize(coarse, (50, 60), interpolation=cv2.INTER_CUBIC))[1].tobytes())


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    """Folders of two classes, two images a patient; endings in any case, a DICOM without one, and what is no image."""
    root = tmp_path / "chest"
    for number in range(20):
        ending = (".png", ".PNG", ".jpg", ".JPEG")[number % 4]
        label = "normal" if number < 12 else "effusion"
        picture(root / label / f"p{number // 2:02d}_{number}{ending}", number)
    (root / "normal/deep").mkdir()
    write_phantom_dicom(draw_phantom(1, 64), root / "normal/deep/p20_1.2.840.20")
    write_phantom_dicom(draw_phantom(2, 64), root / "effusion/p21_21.DCM")
    for name in ("Thumbs.db", "normal/notes.txt", "normal/p9_1.2.3", "normal/.hidden.png", "__MACOSX/normal/._1.png"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"\0" * 200)
    return root


@pytest.fixture
def split(tmp_path: Path) -> Path:
    """Folders of splits in the writing of a public set."""
    root = tmp_path / "chest"
    for number in range(24):
        part = "Train" if number < 16 else "test" if number < 20 else "VAL"
        picture(root / part / ("NORMAL", "PNEUMONIA")[number % 2] / f"person{number // 2}_{number}.jpeg", number)
    return root


def members(datalist: dict[str, Any]) -> dict[str, list[str]]:
    return {name: [item["image"] for item in datalist.get(name, [])] for name in SPLITS}


def items_of(datalist: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {item["id"]: item for name in SPLITS for item in datalist.get(name, [])}


def test_one_folder_a_class(plain: Path, tmp_path: Path) -> None:
    datalist = prepared("folders", plain, tmp_path / "out")
    items = items_of(datalist)
    assert len(items) == 22
    assert (datalist["classes"], datalist["multilabel"]) == (["effusion", "normal"], False)
    assert (datalist["name"], datalist["image_root"]) == ("chest", plain.as_posix())
    assert datalist["filters"] == {"file in no folder of a class": 1, "file that is no image": 3}
    assert items["normal/p00_1.PNG"]["label"] == 1
    assert items["effusion/p21_21.DCM"]["label"] == 0
    assert items["normal/deep/p20_1.2.840.20"].keys() - {"subset"} == {"id", "image", "label"}
    assert datalist["split"]["unit"] == "image"
    path = tmp_path / "out/datalist.json"
    assert list_classes(path) == ["effusion", "normal"]
    assert {item["label"] for item in labelled_items(path, "training", "classification", exclusive=True)} == {0, 1}


def test_patients_by_a_pattern(plain: Path, tmp_path: Path) -> None:
    datalist = prepared("folders", plain, tmp_path / "out", "--patient-pattern", r"/(p\d+)_", "--seed", "2")
    items = items_of(datalist)
    assert items["normal/p03_6.jpg"]["patient"] == items["normal/p03_7.JPEG"]["patient"] == "p03"
    assert datalist["split"] == {
        "method": "share",
        "unit": "patient",
        "ratios": [0.6, 0.15, 0.25],
        "seed": 2,
        "leak_checked": True,
    }
    patients = [{item["patient"] for item in datalist[name]} for name in SPLITS]
    assert sum(map(len, patients)) == len(set.union(*patients)) == 12


def test_the_first_group_that_matches_is_the_patient(plain: Path, tmp_path: Path) -> None:
    datalist = prepared("folders", plain, tmp_path / "out", "--patient-pattern", r"p(1\d)_|p0(\d)_|(p2)")
    patients = {item["patient"] for item in items_of(datalist).values()}
    assert patients == {*map(str, range(10)), "p2"}


def test_the_order_of_classes_and_the_limit(plain: Path, tmp_path: Path) -> None:
    datalist = prepared("folders", plain, tmp_path / "out", "--classes", "normal,effusion", "--limit", "6")
    items = items_of(datalist)
    assert Counter(item["label"] for item in items.values()) == {0: 3, 1: 3}
    assert items["normal/p00_0.png"]["label"] == 0
    assert datalist["limit"] == 6


def test_folders_of_splits(split: Path, tmp_path: Path) -> None:
    datalist = prepared("folders", split, tmp_path / "out", "--patient-pattern", r"(person\d+)_")
    assert {name: len(images) for name, images in members(datalist).items()} == {
        "training": 16,
        "validation": 4,
        "test": 4,
    }
    assert all(image.startswith("VAL/") for image in members(datalist)["validation"])
    assert datalist["split"] == {"method": "folders", "unit": "patient", "leak_checked": True}
    assert datalist["subsets"]["10"]["n"] == 1


def test_without_validation_it_is_drawn_from_training(split: Path, tmp_path: Path) -> None:
    shutil.rmtree(split / "VAL")
    options = ("--patient-pattern", r"(person\d+)_", "--validation", "0.25", "--seed", "1")
    datalist = prepared("folders", split, tmp_path / "out", *options)
    found = members(datalist)
    assert [len(images) for images in found.values()] == [12, 4, 4]
    assert all(image.startswith("Train/") for image in found["validation"])
    assert datalist["split"]["validation_of_training"] == 0.25
    people = [{item["patient"] for item in datalist[name]} for name in SPLITS]
    assert not people[0] & people[1]
    bare = prepared("folders", split, tmp_path / "bare", "--validation", "0")
    assert (len(bare["training"]), "validation" in bare) == (16, False)


def test_a_patient_in_two_folders_of_splits(split: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture(split / "test/NORMAL/person0_99.jpeg", 99)
    pattern = ("--patient-pattern", r"(person\d+)_")
    common = ["folders", "--root", str(split), "--out", str(tmp_path / "out"), *pattern]
    assert main(common) == 2
    assert "its patient person0 is in training" in capsys.readouterr().err
    skipped = prepared("folders", split, tmp_path / "out", *pattern, "--on-error", "skip")
    assert len(skipped["test"]) == 4
    ours = prepared("folders", split, tmp_path / "ours", *pattern, "--split", "ours")
    assert len(items_of(ours)) == 25
    assert ours["split"]["method"] == "share"


def test_the_same_picture_in_two_folders_of_splits(
    split: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(split / "Train/NORMAL/person0_0.jpeg", split / "test/NORMAL/other.jpeg")
    common = ["folders", "--root", str(split), "--out", str(tmp_path / "out")]
    assert main(common) == 2
    assert "test/NORMAL/other.jpeg: it is in test, but an earlier row of its patient" in capsys.readouterr().err
    assert main([*common, "--trust-patients"]) == 0
    assert main([*common, "--split", "ours"]) == 0


def test_without_images_nothing_is_opened(split: Path, tmp_path: Path) -> None:
    for path in split.rglob("*.jpeg"):
        path.write_bytes(b"")
    assert len(items_of(prepared("folders", split, tmp_path / "out", "--without-images"))) == 24


def spoilt(name: str, content: bytes = b"no image") -> Callable[[Path], Any]:
    return lambda root: (root / name).write_bytes(content)


ITEMS: dict[str, tuple[Callable[[Path], Any], tuple[str, ...], str]] = {
    "torn": (spoilt("normal/p00_0.png"), (), r"normal/p00_0\.png: .*not a DICOM, PNG"),
    "torn by header": (spoilt("normal/p00_0.png"), ("--trust-patients",), "not a DICOM, PNG"),
    "black": (lambda r: cv2.imwrite(str(r / "normal/p00_0.png"), np.zeros((9, 9), np.uint8)), (), "the same value"),
}


@pytest.mark.parametrize(("spoil", "options", "reason"), ITEMS.values(), ids=ITEMS.keys())
def test_unusable_images_stop_or_are_skipped(
    plain: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    spoil: Callable[[Path], Any],
    options: tuple[str, ...],
    reason: str,
) -> None:
    spoil(plain)
    assert main(["folders", "--root", str(plain), "--out", str(tmp_path / "out"), *options]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert re.search(reason, error), error
    assert len(items_of(prepared("folders", plain, tmp_path / "out", *options, "--on-error", "skip"))) == 21


def test_a_name_that_the_pattern_does_not_match(
    plain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture(plain / "normal/unknown.png", 50)
    options = ("--patient-pattern", r"p(\d\d)_")
    assert main(["folders", "--root", str(plain), "--out", str(tmp_path / "out"), *options]) == 2
    assert "normal/unknown.png: its path doesn't match --patient-pattern" in capsys.readouterr().err
    assert len(items_of(prepared("folders", plain, tmp_path / "out", *options, "--on-error", "skip"))) == 22


def emptied(root: Path) -> None:
    shutil.rmtree(root / "normal")
    shutil.rmtree(root / "effusion")


WHOLE: dict[str, tuple[Callable[[Path], Any], tuple[str, ...], str]] = {
    "root": (shutil.rmtree, (), "there is no such folder; --root must hold one folder a class"),
    "no images": (emptied, (), r"no image was found; expected are CLASS/\*\.png .* the folders there are: none"),
    "one class": (lambda r: shutil.rmtree(r / "normal"), (), "two classes or more are needed; found is only effusion"),
    "class": (
        lambda r: None,
        ("--classes", "normal,edema"),
        "no folder 'edema' with images; there are effusion",
    ),
    "mixed": (lambda r: picture(r / "train/normal/1.png", 1), (), "beside folders of splits .train. it holds effusion"),
    "case": (lambda r: picture(r / "NORMAL/1.png", 1), (), "'NORMAL' and 'normal' differ in case only"),
    "split": (lambda r: None, ("--split", "folders"), "no folders train, val or test, so --split must be ours"),
}


@pytest.mark.parametrize(("spoil", "options", "reason"), WHOLE.values(), ids=WHOLE.keys())
def test_what_stops_the_whole(
    plain: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    spoil: Callable[[Path], Any],
    options: tuple[str, ...],
    reason: str,
) -> None:
    spoil(plain)
    assert main(["folders", "--root", str(plain), "--out", str(tmp_path / "out"), *options]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert re.search(reason, error), error
    assert not (tmp_path / "out").exists()


def test_sizes_by_header_are_those_that_decoding_finds(tmp_path: Path) -> None:
    picture(tmp_path / "a.png", 1)
    write_phantom_dicom(draw_phantom(1, 64), tmp_path / "b")
    assert header_size(tmp_path / "a.png") == (60, 50)
    assert header_size(tmp_path / "b") == (64, 64)
