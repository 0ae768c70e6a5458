"""The data list of PadChest, from a small release in the official layout with invented content."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prepared import prepared

from bundle.data.errors import DataError
from scripts.prepare import main
from scripts.releases.padchest_labels import parse_labels

TABLE = "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv"
BROKEN = "216840111366964012989926673512011083134050913_00-168-009.png"

# ImageID, ImageDir, StudyID, PatientID, Projection, Report, MethodLabel, Labels
ROWS: list[tuple[str | None, ...]] = [
    ("1_a.png", "0", "s1", "p1", "PA", "sin  hallazg .", "Physician", "['normal', ' normal', '']"),
    ("1_b.png", "0", "s1", "p1", "L", "sin  hallazg .", "Physician", "['normal']"),
    ("2_a.png", "54", "s2", "p2", "AP_horizontal", "derram \nizquierd", "RNN_model", "['effusion ', 'NSG tube']"),
    ("3_a.png", "54", "s3", "p3", "COSTAL", None, "Physician", "['rib fracture']"),
    ("4_a.png", "54", "s4", "p4", "PA", "x", "Physician", None),
    ("5_a.png", "54", "s5", "p5", "PA", "x", "RNN_model", "[]"),
    (BROKEN, "0", "s6", "p6", "PA", "x", "Physician", "['normal']"),
    *((f"{n}_a.png", "1", f"s{n}", f"p{n}", "AP", "normal", "RNN_model", "['normal']") for n in range(10, 20)),
]
COLUMNS = ["ImageID", "ImageDir", "StudyID", "PatientID", "Projection", "Report", "MethodLabel", "Labels"]
CLASSES = ["NSG tube", "effusion", "normal", "rib fracture"]


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """The table and the folders of images, which are empty files, since the list only names them."""
    root = tmp_path / "padchest"
    table = pd.DataFrame(ROWS, columns=COLUMNS)
    for image, folder in zip(table["ImageID"], table["ImageDir"], strict=True):
        (root / folder).mkdir(parents=True, exist_ok=True)
        (root / folder / image).touch()
    others: dict[str, Any] = {
        "StudyDate_DICOM": 20110101,
        "PatientBirth": 1950.0,
        "Pediatric": "No",
        "LabelsLocalizationsBySentence": "[]",
    }
    table.assign(**others).to_csv(root / TABLE)  # with the unnamed column of row numbers
    return root


def _refused(root: Path, capsys: pytest.CaptureFixture[str], *options: str) -> str:
    out = root.parent / "refused"
    assert main(["padchest", "--root", str(root), "--out", str(out), *options]) == 2
    assert not out.exists()
    return capsys.readouterr().err


def _ids(datalist: dict[str, Any]) -> list[str]:
    return [item["id"] for split in ("training", "validation", "test") for item in datalist.get(split, [])]


def test_every_field(release: Path, tmp_path: Path) -> None:
    datalist = prepared("padchest", release, tmp_path / "out", "--split", "zero_shot")
    normal = {"patient": "p1", "study": "s1", "text": "sin hallazg .", "label": [0, 0, 1, 0]}
    assert datalist["test"][:4] == [
        {"id": "1_a", "image": "0/1_a.png", "view": "PA", **normal},
        {"id": "1_b", "image": "0/1_b.png", "view": "L", **normal},
        {
            **{"id": "2_a", "image": "54/2_a.png", "patient": "p2", "study": "s2", "view": "AP"},
            **{"text": "derram izquierd", "label": [1, 1, 0, 0]},
        },
        {"id": "3_a", "image": "54/3_a.png", "patient": "p3", "study": "s3", "label": [0, 0, 0, 1]},
    ]
    assert datalist["classes"] == CLASSES
    assert datalist["multilabel"] is True
    assert datalist["image_root"] == str(release)
    assert datalist["split"] == {"method": "zero_shot", "unit": "patient", "leak_checked": True}
    assert datalist["filters"] == {"image file broken in the release": 1, "row without an image or a label": 2}
    assert len(datalist["test"]) == 14


def test_our_split_is_by_patient(release: Path, tmp_path: Path) -> None:
    datalist = prepared("padchest", release, tmp_path / "out")
    patients = [{item["patient"] for item in datalist[split]} for split in ("training", "validation", "test")]
    assert sum(map(len, patients)) == len(set.union(*patients)) == 13
    assert [datalist[key] for key in ("numTraining", "numValidation", "numTest")] == [10, 1, 3]
    assert datalist["split"]["ratios"] == [0.7, 0.1, 0.2]


def test_physicians_have_classes_of_their_own(release: Path, tmp_path: Path) -> None:
    datalist = prepared("padchest", release, tmp_path / "out", "--physician-only", "--split", "zero_shot")
    assert _ids(datalist) == ["1_a", "1_b", "3_a"]
    assert datalist["classes"] == ["normal", "rib fracture"]
    assert datalist["filters"] == {
        "image file broken in the release": 1,
        "not labelled by a physician": 12,
        "row without an image or a label": 1,
    }


def test_images_in_one_folder_and_a_packed_table(release: Path, tmp_path: Path) -> None:
    expected = prepared("padchest", release, tmp_path / "folders")
    (release / f"{TABLE}.gz").write_bytes(gzip.compress((release / TABLE).read_bytes()))
    (release / TABLE).unlink()
    for image in release.glob("*/*.png"):
        image.rename(release / image.name)
    for folder in ("0", "1", "54"):
        (release / folder).rmdir()
    flat = prepared("padchest", release, tmp_path / "flat")
    assert _ids(flat) == _ids(expected)
    assert flat["training"][0]["image"] == f"{flat['training'][0]['id']}.png"
    assert prepared("padchest", release, tmp_path / "without", "--without-images") == expected


def test_missing_images_and_unreadable_labels(
    release: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (release / "0/1_b.png").unlink()
    table = (release / TABLE).read_text()
    (release / TABLE).write_text(table.replace("['rib fracture']", "__import__('os').getcwd()"))
    error = _refused(release, capsys)
    assert "3_a.png: its labels \"__import__('os').getcwd()\" are no Python list" in error
    datalist = prepared("padchest", release, tmp_path / "out", "--on-error", "skip")
    assert len(_ids(datalist)) == 12
    skipped = (tmp_path / "out/skipped.csv").read_text()
    assert "3_a.png" in skipped
    assert "item 1_b,there is no image file" in skipped


def test_limit_keeps_the_classes(release: Path, tmp_path: Path) -> None:
    datalist = prepared("padchest", release, tmp_path / "out", "--limit", "2", "--split", "zero_shot")
    assert _ids(datalist) == ["1_a", "1_b"]
    assert datalist["classes"] == CLASSES
    assert datalist["limit"] == 2


def test_a_damaged_table(release: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = (release / TABLE).read_text()
    (release / TABLE).write_text(table[: table.rindex(",p19")])
    assert "the file was cut off, download it again" in _refused(release, capsys)
    (release / TABLE).write_text(table.replace("MethodLabel", "Method"))
    assert f"{TABLE}: there is no column 'MethodLabel'; the columns are" in _refused(release, capsys)


def test_wrong_root(release: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert f"--root holds neither {TABLE} nor {TABLE}.gz, but padchest" in _refused(release.parent, capsys)


def test_labels_that_are_lists_but_not_of_texts() -> None:
    for cell in ("['a', 1]", "{'a'}", "('a',)", "'a'", "[nan]", "[", "(" * 200 + ")" * 200):
        with pytest.raises(DataError, match="are no"):
            parse_labels(cell)


@given(st.lists(st.text(max_size=8), max_size=6))
def test_labels_as_python_prints_them(names: list[str]) -> None:
    assert parse_labels(repr(names)) == tuple(dict.fromkeys(name.strip() for name in names if name.strip()))


@given(st.text(max_size=40))
def test_any_text_gives_names_or_an_error(cell: str) -> None:
    try:
        names = parse_labels(cell)
    except DataError:
        return
    assert all(name == name.strip() and name for name in names)
