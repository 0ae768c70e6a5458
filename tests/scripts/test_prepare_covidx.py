"""The data list of COVIDx, from small lists in the official form with invented content."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from prepared import prepared

from bundle.data.datalist import load_datalist
from scripts.prepare import main

TRAIN = [
    "3 SARS-10.1148rg.242035193-g04mr34g0-Fig8a-day0.jpeg pneumonia cohen",
    "3 SARS-10.1148rg.242035193-g04mr34g0-Fig8b-day5.jpeg pneumonia cohen",
    "282 000001.jpg COVID-19 cohen",
    "410 000001.png COVID-19 cohen",  # the same name with another ending
    "ANON 56 CR.1.2.840.png normal actmed",  # spaces within the patient
    "COVID_510 COVID(510).png COVID-19 sirm",
    "47c78742-4998 47c78742-4998.png normal rsna",
    "419639-003251 MIDRC-RICORD-1C-419639-003251-1.png COVID-19 ricord",  # a patient of the test list
]
TEST = [
    "419639-003251 MIDRC-RICORD-1C-419639-003251-2.png COVID-19 ricord",
    "8989e25c-a698 8989e25c-a698.png normal rsna",
]


def _write(root: Path, name: str, lines: Sequence[str]) -> None:
    """A list, and its images as empty files, since the data list only names them."""
    folder = root / name.partition("_")[0].removesuffix(".txt")
    folder.mkdir(parents=True, exist_ok=True)
    (root / name).write_text("\n".join(lines) + "\n")
    for line in lines:
        (folder / line.split()[-3]).touch()


def _binary(lines: Sequence[str]) -> list[str]:
    words = {"COVID-19": "positive", "normal": "negative", "pneumonia": "negative"}
    parts = [line.rsplit(" ", 2) for line in lines]
    return [f"{start} {words[word]} {source}" for start, word, source in parts]


@pytest.fixture
def release(tmp_path: Path) -> Path:
    root = tmp_path / "covidx"
    _write(root, "train_COVIDx9A.txt", TRAIN)
    _write(root, "test_COVIDx9A.txt", TEST)
    return root


def _refused(root: Path, capsys: pytest.CaptureFixture[str], *options: str) -> str:
    out = root.parent / "refused"
    assert main(["covidx", "--root", str(root), "--out", str(out), *options]) == 2
    assert not out.exists()
    return capsys.readouterr().err


def _images(datalist: dict[str, Any]) -> dict[str, list[str]]:
    splits = ("training", "validation", "test")
    return {split: [item["image"] for item in datalist[split]] for split in splits if split in datalist}


def test_every_field(release: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    datalist = prepared("covidx", release, tmp_path / "out", "--split", "official")
    assert [item.pop("subset")[-1] for item in datalist["training"]] == [100] * 8
    named = [(item["image"], item["patient"], item["label"]) for item in datalist["training"]]
    assert named == [
        ("train/SARS-10.1148rg.242035193-g04mr34g0-Fig8a-day0.jpeg", "3", 1),
        ("train/SARS-10.1148rg.242035193-g04mr34g0-Fig8b-day5.jpeg", "3", 1),
        ("train/000001.jpg", "282", 2),
        ("train/000001.png", "410", 2),
        ("train/CR.1.2.840.png", "ANON 56", 0),
        ("train/COVID(510).png", "COVID_510", 2),
        ("train/47c78742-4998.png", "47c78742-4998", 0),
        ("train/MIDRC-RICORD-1C-419639-003251-1.png", "419639-003251", 2),
    ]
    assert datalist["test"][1] == {
        "id": "test/8989e25c-a698.png",
        "image": "test/8989e25c-a698.png",
        "patient": "8989e25c-a698",
        "label": 0,
    }
    header = {key: value for key, value in datalist.items() if key not in ("training", "test", "sha256", "subsets")}
    assert header == {
        "name": "covidx",
        "task": "classification",
        "modality": {"0": "CR"},
        "licence": "that of each source, see the release",
        "source": "COVIDx, lists train_COVIDx9A.txt, test_COVIDx9A.txt",
        "classes": ["normal", "pneumonia", "COVID-19"],
        "multilabel": False,
        "image_root": release.as_posix(),
        "published": {"training": 29986, "test": 400},
        "split": {
            "method": "official",
            "unit": "image",
            "leak_checked": True,
            "leaks": {"training-test": {"images": 0, "patients": 1}},
        },
        "schema_version": 1,
        "numTraining": 8,
        "numValidation": 0,
        "numTest": 2,
    }
    assert "training and test of this published split share 1 patients" in capsys.readouterr().out
    assert len(load_datalist(tmp_path / "out" / "datalist.json", "training", check_files="all")) == 8


def test_our_split_is_by_patient_and_free_of_the_test_list(release: Path, tmp_path: Path) -> None:
    datalist = prepared("covidx", release, tmp_path / "out", "--seed", "2")
    images = _images(datalist)
    assert sorted(images["training"] + images["validation"]) == sorted(
        f"train/{line.split()[-3]}" for line in TRAIN[:7]
    )
    patients = {split: {item["patient"] for item in datalist[split]} for split in images}
    assert not patients["training"] & patients["validation"]
    assert datalist["filters"] == {"patient of validation or test in an earlier split": 1}
    assert datalist["split"] == {
        "method": "official test, the rest by share",
        "unit": "patient",
        "ratios": [0.8, 0.2],
        "seed": 2,
        "leak_checked": True,
    }
    assert datalist["published"] == {"test": 400}


def test_mgca_draws_rows(release: Path, tmp_path: Path) -> None:
    lines = [f"{number // 2} {number}.png normal rsna" for number in range(11)]
    _write(release, "train_COVIDx9A.txt", lines)
    datalist = prepared("covidx", release, tmp_path / "out", "--split", "mgca")
    # sklearn.model_selection.train_test_split(range(11), test_size=0.2, random_state=0)
    assert _images(datalist)["validation"] == [f"train/{number}.png" for number in (4, 9, 2)]
    assert _images(datalist)["training"] == [f"train/{number}.png" for number in (10, 6, 1, 7, 8, 3, 0, 5)]
    assert datalist["split"]["leaks"] == {"training-validation": {"images": 0, "patients": 3}}
    assert datalist["published"] == {"training": 23988, "validation": 5998, "test": 400}


def test_two_classes(release: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _write(release, "train_COVIDx9B.txt", _binary(TRAIN))
    _write(release, "test_COVIDx9B.txt", _binary(TEST))
    assert "there are the lists train_COVIDx9A.txt, train_COVIDx9B.txt; choose one with --list" in _refused(
        release, capsys
    )
    options = ("--split", "official", "--list", "train_COVIDx9B.txt")
    datalist = prepared("covidx", release, tmp_path / "out", *options)
    assert (datalist["classes"], datalist["multilabel"]) == (["COVID-19"], True)
    assert [item["label"] for item in datalist["training"]] == [[0], [0], [1], [1], [0], [1], [0], [1]]
    assert "published" not in datalist


def test_a_release_with_a_validation_list(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "covidx"
    _write(root, "train.txt", _binary(TRAIN))
    _write(root, "test.txt", _binary(TEST))
    _write(root, "val.txt", ["282 000002.jpg positive cohen", "8989e25c-a698 other.png negative rsna"])
    official = prepared("covidx", root, tmp_path / "out", "--split", "official")
    assert _images(official)["validation"] == ["val/000002.jpg", "val/other.png"]
    assert official["source"] == "COVIDx, lists train.txt, test.txt, val.txt"
    ours = prepared("covidx", root, tmp_path / "out")
    assert _images(ours)["validation"] == ["val/000002.jpg"]
    assert "train/000001.jpg" not in _images(ours)["training"]
    assert (ours["numTraining"], ours["numTest"]) == (6, 2)
    assert ours["filters"] == {"patient of validation or test in an earlier split": 3}
    assert "this release has a list of its own" in _refused(root, capsys, "--split", "mgca")


def test_missing_images(release: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (release / "train" / "000001.png").unlink()
    assert "item train/000001.png: there is no image file" in _refused(release, capsys)
    datalist = prepared("covidx", release, tmp_path / "out", "--split", "official", "--on-error", "skip")
    assert datalist["numTraining"] == 7
    assert "item train/000001.png,there is no image file" in (tmp_path / "out" / "skipped.csv").read_text()
    assert prepared("covidx", release, tmp_path / "out", "--split", "official", "--without-images")["numTraining"] == 8


def test_limit_counts_each_split(release: Path, tmp_path: Path) -> None:
    datalist = prepared("covidx", release, tmp_path / "out", "--split", "official", "--limit", "1")
    assert _images(datalist) == {
        "training": ["train/SARS-10.1148rg.242035193-g04mr34g0-Fig8a-day0.jpeg"],
        "test": ["test/MIDRC-RICORD-1C-419639-003251-2.png"],
    }
    assert datalist["limit"] == 1
    assert "published" not in datalist


def test_lines_that_cannot_be_used(release: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    strange = ["9 a.png healthy cohen", "b.png normal cohen", "", TRAIN[0]]
    (release / "train_COVIDx9A.txt").write_text("\n".join([TRAIN[0], *strange, *TRAIN[1:]]) + "\n\n")
    error = _refused(release, capsys)
    assert "train_COVIDx9A.txt line 2: it isn't 'patient_id filename class source' with one of normal, pneum" in error
    datalist = prepared("covidx", release, tmp_path / "out", "--split", "official", "--on-error", "skip")
    assert datalist["numTraining"] == 8
    assert datalist["filters"] == {"image listed before in train_COVIDx9A.txt": 1}
    skipped = (tmp_path / "out" / "skipped.csv").read_text().splitlines()[1:]
    assert [line.partition(",")[0] for line in skipped] == ["train_COVIDx9A.txt line 2", "train_COVIDx9A.txt line 3"]


def test_damaged_lists(release: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = release / "train_COVIDx9A.txt"
    path.write_text("\n".join(TRAIN)[:-7])
    assert "train_COVIDx9A.txt: its last line has fewer than 4 columns; the file was cut off" in _refused(
        release, capsys
    )
    path.write_text("")
    assert "the file was cut off" in _refused(release, capsys)
    path.write_bytes(b"3 \xff.png normal cohen\n")
    assert "train_COVIDx9A.txt: the list can't be read" in _refused(release, capsys)


def test_wrong_root(release: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    error = _refused(release / "test", capsys)
    assert "--root holds neither train_COVIDx9A.txt nor train_COVIDx9B.txt nor train.txt, but 8989e25c" in error
    assert "there is no such folder; --root must hold train_COVIDx9A.txt" in _refused(tmp_path / "none", capsys)
    assert "--root holds no train_COVIDx8A.txt, but test" in _refused(release, capsys, "--list", "train_COVIDx8A.txt")
    (release / "test_COVIDx9A.txt").rename(release / "test_COVIDx8A.txt")
    assert "--root holds no test_COVIDx9A.txt, but test, test_COVIDx8A.txt, train" in _refused(release, capsys)
