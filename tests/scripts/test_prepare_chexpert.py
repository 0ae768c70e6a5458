"""The data list of CheXpert, from a small release in the official layouts with invented content."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from prepared import prepared

from bundle.data.datalist import load_datalist
from scripts.prepare import main
from scripts.releases import chexpert_draws
from scripts.releases.chexpert_files import CLASSES

SMALL = "CheXpert-v1.0-small"
FIVE = ["Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Pleural Effusion"]
# path below the release's folder, AP/PA, labels that aren't blank
TRAIN: list[tuple[str, str, dict[str, str]]] = [
    ("train/patient00001/study1/view1_frontal.jpg", "AP", {"Pleural Effusion": "1.0", "Edema": "-1.0"}),
    ("train/patient00001/study1/view2_lateral.jpg", "", {"Pleural Effusion": "1.0", "Edema": "-1.0"}),
    ("train/patient00001/study2/view1_frontal.jpg", "PA", {"No Finding": "1.0", "Fracture": "0.0"}),
    ("train/patient00002/study1/view1_frontal.jpg", "LL", {"Lung Opacity": "1.0"}),  # a frontal view, so they say
    ("train/patient00003/study1/view1_frontal.jpg", "AP", {}),
]
VALID: list[tuple[str, str, dict[str, str]]] = [
    ("valid/patient64541/study1/view1_frontal.jpg", "AP", dict.fromkeys(CLASSES, "0.0") | {"Cardiomegaly": "1.0"}),
    ("valid/patient64541/study1/view2_lateral.jpg", "", dict.fromkeys(CLASSES, "0.0")),
]
Row = tuple[str, str, dict[str, str]]


def _label(**values: int) -> list[int | None]:
    named = {name.replace("_", " "): value for name, value in values.items()}
    return [named.get(name) for name in CLASSES]


def _write_table(path: Path, rows: list[Row], prefix: str = f"{SMALL}/") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", *CLASSES])
        for image, view, labels in rows:
            frontal = "Frontal" if "frontal" in image else "Lateral"
            writer.writerow([prefix + image, "Female", 68, frontal, view, *(labels.get(name, "") for name in CLASSES)])


def _release(folder: Path, train: list[Row] = TRAIN, prefix: str = f"{SMALL}/") -> Path:
    """Tables and images (empty files, since the list only names them)."""
    for name, rows in (("train.csv", train), ("valid.csv", VALID)):
        _write_table(folder / name, rows, prefix)
        for image, _, _ in rows:
            (folder / image).parent.mkdir(parents=True, exist_ok=True)
            (folder / image).touch()
    return folder


@pytest.fixture
def release(tmp_path: Path) -> Path:
    return _release(tmp_path / SMALL)


def _refused(root: Path, capsys: pytest.CaptureFixture[str], *options: str) -> str:
    out = root.parent / "refused"
    assert main(["chexpert", "--root", str(root), "--out", str(out), *options]) == 2
    assert not out.exists()
    return capsys.readouterr().err


def _ids(datalist: dict[str, Any]) -> dict[str, list[str]]:
    splits = ("training", "validation", "test")
    return {split: [item["id"] for item in datalist[split]] for split in splits if split in datalist}


def test_every_field(release: Path, tmp_path: Path) -> None:
    datalist = prepared("chexpert", release, tmp_path / "out", "--split", "official")
    assert [item.pop("subset")[-1] for item in datalist["training"]] == [100] * 4
    first, second, third, fourth = datalist["training"]
    assert first == {
        "id": "patient00001_study1_view1_frontal",
        "image": "train/patient00001/study1/view1_frontal.jpg",
        "patient": "patient00001",
        "study": "patient00001/study1",
        "view": "AP",
        "label": _label(Pleural_Effusion=1, Edema=-1),
    }
    assert (second["view"], second["label"]) == ("PA", _label(No_Finding=1, Fracture=0))
    assert "view" not in third
    assert third["label"] == _label(Lung_Opacity=1)
    assert fourth["label"] == [None] * 14
    assert [(item["id"], item["label"]) for item in datalist["validation"]] == [
        ("patient64541_study1_view1_frontal", [0, 0, 1, *[0] * 11])
    ]
    header = {key: value for key, value in datalist.items() if key not in ("training", "validation", "sha256")}
    assert header == {
        "name": "chexpert",
        "task": "classification",
        "modality": {"0": "CR"},
        "licence": "Research Use Agreement of the Stanford University CheXpert data set",
        "source": "CheXpert v1.0, Stanford University",
        "image_root": release.as_posix(),
        "published": {"training": 191027, "validation": 202},
        "classes": CLASSES,
        "multilabel": True,
        "split": {"method": "official", "unit": "patient", "leak_checked": True, "leaks": {}},
        "subsets": {name: {"seed": 0, "n": n} for name, n in (("1", 1), ("10", 1), ("100", 4))},
        "filters": {"lateral view": 2},
        "schema_version": 1,
        "numTraining": 4,
        "numValidation": 1,
        "numTest": 0,
    }
    assert CLASSES[2:5] == ["Cardiomegaly", "Lung Opacity", "Lung Lesion"]
    assert len(load_datalist(tmp_path / "out" / "datalist.json", "training", check_files="all")) == 4


def test_our_split_is_by_patient_and_tests_on_valid(tmp_path: Path) -> None:
    rows: list[Row] = [
        (f"train/patient{number // 3:05d}/study1/view{number % 3}_frontal.jpg", "AP", {"Edema": "1.0"})
        for number in range(300)
    ]
    datalist = prepared("chexpert", _release(tmp_path / SMALL, rows), tmp_path / "out", "--seed", "5")
    assert {split: len(ids) for split, ids in _ids(datalist).items()} == {"training": 291, "validation": 9, "test": 1}
    patients = {split: {item["patient"] for item in datalist[split]} for split in ("training", "validation")}
    assert not patients["training"] & patients["validation"]
    assert datalist["split"] == {
        "method": "valid.csv for test, the rest by share",
        "unit": "patient",
        "leak_checked": True,
        "ratios": [0.974, 0.026],
        "seed": 5,
    }
    assert datalist["published"] == {"test": 202}


def test_the_five_competition_labels(release: Path, tmp_path: Path) -> None:
    datalist = prepared("chexpert", release, tmp_path / "out", "--split", "official", "--labels", "five")
    assert datalist["classes"] == FIVE
    assert datalist["training"][0]["label"] == [None, None, None, -1, 1]


@pytest.mark.parametrize("name", ["test.csv", "test_labels.csv"])
def test_test_images_with_columns_in_another_order(release: Path, tmp_path: Path, name: str) -> None:
    image = "test/patient64741/study1/view1_frontal.jpg"
    columns = [*sorted(CLASSES, reverse=True)]
    values = ["1" if column == "Edema" else "0" for column in columns]
    lateral = image.replace("view1_frontal", "view2_lateral")
    lines = [["Path", *columns], [image, *values], [lateral, *values]]
    (release / name).write_text("\n".join(map(",".join, lines)) + "\n")
    (release / image).parent.mkdir(parents=True)
    (release / image).touch()
    datalist = prepared("chexpert", release, tmp_path / "out", "--split", "official")
    assert datalist["test"] == [
        {
            "id": "patient64741_study1_view1_frontal",
            "image": image,
            "patient": "patient64741",
            "study": "patient64741/study1",
            "label": [int(column == "Edema") for column in CLASSES],
        }
    ]


def test_root_may_be_the_folder_above(tmp_path: Path) -> None:
    _release(tmp_path / "CheXpert-v1.0", prefix="CheXpert-v1.0/")
    datalist = prepared("chexpert", tmp_path, tmp_path / "out", "--split", "official")
    assert datalist["training"][0]["image"] == "CheXpert-v1.0/train/patient00001/study1/view1_frontal.jpg"
    assert datalist["image_root"] == tmp_path.as_posix()


def test_the_download_in_batches(tmp_path: Path) -> None:
    first = "CheXpert-v1.0 batch 1 (validate & csv)"
    _release(tmp_path / first, prefix="CheXpert-v1.0/")
    for patient, batch in (("patient00001", 2), ("patient00002", 2), ("patient00003", 4)):
        target = tmp_path / f"CheXpert-v1.0 batch {batch} (train {batch - 1})"
        target.mkdir(exist_ok=True)
        (tmp_path / first / "train" / patient).rename(target / patient)
    datalist = prepared("chexpert", tmp_path, tmp_path / "out", "--split", "official")
    assert [item["image"] for item in datalist["training"]] == [
        "CheXpert-v1.0 batch 2 (train 1)/patient00001/study1/view1_frontal.jpg",
        "CheXpert-v1.0 batch 2 (train 1)/patient00001/study2/view1_frontal.jpg",
        "CheXpert-v1.0 batch 2 (train 1)/patient00002/study1/view1_frontal.jpg",
        "CheXpert-v1.0 batch 4 (train 3)/patient00003/study1/view1_frontal.jpg",
    ]
    assert datalist["validation"][0]["image"] == f"{first}/valid/patient64541/study1/view1_frontal.jpg"


def _drawable_rows() -> list[Row]:
    """For each of the five classes two candidates of 5x200 and images that look like some but aren't."""
    rows: list[Row] = []
    for number, name in enumerate(FIVE):
        labels = [
            {name: "1.0"},
            {name: "1.0", "No Finding": "1.0", "Fracture": "0.0"},  # a zero is as good as a blank
            {name: "1.0", "Support Devices": "1.0"},
            {name: "1.0", "Lung Opacity": "-1.0"},
            {name: "-1.0"},
        ]
        for view, of_view in enumerate(labels):
            rows.append((f"train/patient{number:05d}/study{view}/view1_frontal.jpg", "AP", of_view))
        rows.append((f"train/patient{number:05d}/study9/view2_lateral.jpg", "", {name: "1.0"}))
    return rows


def test_5x200(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chexpert_draws, "_A_CLASS", 2)
    datalist = prepared("chexpert", _release(tmp_path / SMALL, _drawable_rows()), tmp_path / "out", "--split", "5x200")
    expected = {(f"patient{number:05d}_study{view}_view1_frontal", number) for number in range(5) for view in (0, 1)}
    assert {(item["id"], item["label"]) for item in datalist["test"]} == expected
    assert [item["group"] for item in datalist["test"]] == [name for name in FIVE for _ in range(2)]
    assert (datalist["classes"], datalist["multilabel"]) == (FIVE, False)
    assert datalist["published"] == {"items": 1000, "test": 1000}
    assert "subsets" not in datalist
    assert "training" not in datalist


def test_5x200_draws_as_pandas_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chexpert_draws, "_A_CLASS", 3)
    rows: list[Row] = [
        (f"train/patient{number:05d}/study1/view1_frontal.jpg", "AP", {FIVE[number % 5]: "1.0"}) for number in range(50)
    ]
    datalist = prepared("chexpert", _release(tmp_path / SMALL, rows), tmp_path / "out", "--split", "5x200")
    drawn = pd.Series(range(10)).sample(n=3, random_state=0).tolist()
    numbers = [int(item["patient"].removeprefix("patient")) for item in datalist["test"]]
    assert numbers == [5 * position + number for number in range(5) for position in drawn]


def test_5x200_needs_enough_images(release: Path, capsys: pytest.CaptureFixture[str]) -> None:
    error = _refused(release, capsys, "--split", "5x200")
    assert "train.csv has 0 frontal images that show Atelectasis alone; 5x200 draws 200 of them" in error
    assert "leave the option out" in _refused(release, capsys, "--split", "5x200", "--labels", "five")


def test_mgca_draws_by_position_and_drops_by_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(chexpert_draws, "_A_CLASS", 2)
    monkeypatch.setattr(chexpert_draws, "_VALIDATION", 6)
    rows = _drawable_rows()
    datalist = prepared("chexpert", _release(tmp_path / SMALL, rows), tmp_path / "out", "--split", "mgca")
    # 30 rows; 0 and 1 of every six are those of 5x200. numpy.random.RandomState(0).permutation(20)[:6]:
    positions = [18, 1, 19, 8, 10, 17]
    left = [number for number in range(30) if number % 6 > 1]
    validation = [left[position] for position in positions]
    training = [number for number in left if number not in positions]
    names = [Path(row[0]).with_suffix("").as_posix().removeprefix("train/").replace("/", "_") for row in rows]
    is_frontal = [number % 6 < 5 for number in range(30)]
    assert _ids(datalist) == {
        "training": [names[number] for number in training if is_frontal[number]],
        "validation": [
            names[number] + ("_validation" if number in training else "") for number in validation if is_frontal[number]
        ],
        "test": ["patient64541_study1_view1_frontal"],
    }
    shared = {number for number in validation if number in training and is_frontal[number]}
    assert shared  # the leak of the public code
    patients = {number // 6 for number in validation if is_frontal[number]}
    assert datalist["split"]["leaks"] == {"training-validation": {"images": len(shared), "patients": len(patients)}}
    assert datalist["split"]["method"] == "mgca"
    assert datalist["classes"] == FIVE
    assert "warning: training and validation of this published split share" in capsys.readouterr().out


def test_mgca_needs_enough_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(chexpert_draws, "_A_CLASS", 2)
    root = _release(tmp_path / SMALL, _drawable_rows())
    error = _refused(root, capsys, "--split", "mgca")
    assert "train.csv has 20 rows beside those of 5x200; MGCA draws 5000 of them" in error


def test_missing_images(release: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (release / TRAIN[2][0]).unlink()
    error = _refused(release, capsys)
    assert "item patient00001_study2_view1_frontal: there is no image file" in error
    datalist = prepared("chexpert", release, tmp_path / "out", "--split", "official", "--on-error", "skip")
    assert datalist["numTraining"] == 3
    assert "item patient00001_study2_view1_frontal,there is" in (tmp_path / "out" / "skipped.csv").read_text()
    whole = prepared("chexpert", release, tmp_path / "out", "--split", "official", "--without-images")
    assert whole["numTraining"] == 4


def test_limit_counts_each_split(release: Path, tmp_path: Path) -> None:
    datalist = prepared("chexpert", release, tmp_path / "out", "--split", "official", "--limit", "2")
    assert {split: len(ids) for split, ids in _ids(datalist).items()} == {"training": 2, "validation": 1}
    assert datalist["limit"] == 2
    assert "published" not in datalist


@pytest.mark.parametrize(("old", "new"), [("-1.0", "2.0"), ("study2/view1_frontal.jpg", "view1_frontal.jpg")])
def test_rows_that_cannot_be_used(
    release: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], old: str, new: str
) -> None:
    table = release / "train.csv"
    table.write_text(table.read_text().replace(old, new))
    assert "it needs a Path such as train/patient00001/study1/view1_frontal.jpg and labels" in _refused(release, capsys)
    datalist = prepared("chexpert", release, tmp_path / "out", "--split", "official", "--on-error", "skip")
    assert datalist["numTraining"] == 3
    skipped = (tmp_path / "out" / "skipped.csv").read_text()
    assert Counter(line.split()[0] for line in skipped.splitlines()[1:])["train.csv"] == (2 if old == "-1.0" else 1)


def test_damaged_tables(release: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = release / "train.csv"
    whole = table.read_text()
    table.write_text(whole[:-8])
    assert "train.csv: its last row has 12 of 19 cells; the file was cut off" in _refused(release, capsys)
    table.write_text(whole.replace("Lung Lesion", "Lung Leison"))
    error = _refused(release, capsys)
    assert "train.csv: there is no column 'Lung Lesion'; the columns are Path, Sex, Age" in error
    table.write_text(whole)
    (release / "valid.csv").unlink()
    assert f"{release}: --root holds no valid.csv, but train, train.csv, valid" in _refused(release, capsys)


def test_wrong_root(release: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    error = _refused(release / "train", capsys)
    assert "--root holds neither train.csv nor CheXpert-v1.0/train.csv nor CheXpert-v1.0-small/train.csv" in error
    assert "but patient00001, patient00002, patient00003" in error
    assert "there is no such folder; --root must hold train.csv" in _refused(tmp_path / "none", capsys)
