"""The data list of MIMIC-CXR-JPG, from a small release in the official layout with invented content."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from bundle.data.datalist import load_datalist, read_datalist
from scripts.prepare import main

# subject, study, dicom, view, split
IMAGES = [
    ("10000032", "50414267", "02aa804e-bde0afdd", "PA", "train"),
    ("10000032", "50414267", "174413ec-4ec4c1f7", "LATERAL", "train"),
    ("10000032", "53189527", "2a2277a9-b0ded155", "AP", "train"),
    ("10000032", "53189527", "e084de3b-be89b11e", "PA", "train"),  # the second image of one report
    ("11000011", "51029426", "68b5c4b1-227d0485", "AP", "validate"),
    ("12000012", "52000001", "0a000000-00000001", "AP", "test"),  # repeated header
    ("12000012", "52000002", "0a000000-00000002", "PA", "test"),  # neither findings nor impression
    ("12000012", "52000003", "0a000000-00000003", "PA", "test"),  # two words
    ("13000013", "53000001", "0b000000-00000001", "", "train"),  # no view
    ("13000013", "53000002", "0b000000-00000002", "LL", "train"),
]
REPORTS = {
    "50414267": " FINAL REPORT\n EXAM:  CHEST\n \n FINDINGS: \n \n Clear\n lungs.\n \n IMPRESSION: No process.\n",
    "53189527": " FINAL REPORT\r\n \r\n IMPRESSION: \r\n \r\n Unchanged small\r\n effusion.\r\n",
    "51029426": " FINAL REPORT\n FINDINGS: Tube in place.\n",
    "52000001": " IMPRESSION: Old one.\n FINDINGS: Heart is large.\n IMPRESSION: New \ufffd one.\n IMPRESSION: \n",
    "52000002": " FINAL REPORT\n HISTORY: Cough.\n \n Lungs are clear now.\n",
    "52000003": " FINAL REPORT\n IMPRESSION: No change.\n",
}
LABELS = "subject_id,study_id,Atelectasis,Edema,No Finding\n"
LABELS += "10000032,50414267,,-1.0,1.0\n10000032,53189527,0.0,1.0,\n12000012,52000001,1,,0\n"


def _folder(subject: str, study: str) -> str:
    return f"files/p{subject[:2]}/p{subject}/s{study}"


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """The folders and files of a release; images are empty files, since the list only names them."""
    root = tmp_path / "mimic"
    for subject, study, dicom, _, _ in IMAGES:
        (root / _folder(subject, study)).mkdir(parents=True, exist_ok=True)
        (root / _folder(subject, study) / f"{dicom}.jpg").touch()
        if study in REPORTS:
            text = REPORTS[study].encode().replace("\ufffd".encode(), b"\xff")
            (root / f"{_folder(subject, study)}.txt").write_bytes(text)
    table = pd.DataFrame(IMAGES, columns=["subject_id", "study_id", "dicom_id", "ViewPosition", "split"])
    table.assign(Rows=3056)[["dicom_id", "subject_id", "study_id", "ViewPosition", "Rows"]].to_csv(
        root / "mimic-cxr-2.0.0-metadata.csv.gz", index=False
    )
    table[::-1][["dicom_id", "study_id", "subject_id", "split"]].to_csv(root / "mimic-cxr-2.0.0-split.csv", index=False)
    (root / "mimic-cxr-2.0.0-chexpert.csv.gz").write_bytes(gzip.compress(LABELS.encode()))
    return root


def _prepare(root: Path, *options: str) -> dict[str, Any]:
    out = root.parent / "out"
    assert main(["mimic_cxr", "--root", str(root), "--out", str(out), "--workers", "2", *options]) == 0
    return read_datalist(out / "datalist.json")


def _refused(root: Path, capsys: pytest.CaptureFixture[str], *options: str) -> str:
    out = root.parent / "out"
    assert main(["mimic_cxr", "--root", str(root), "--out", str(out), *options]) == 2
    assert not out.exists()
    return capsys.readouterr().err


def test_every_field(release: Path, capsys: pytest.CaptureFixture[str]) -> None:
    datalist = _prepare(release, "--labels", "--seed", "1")
    subsets = [item.pop("subset") for item in datalist["training"]]
    assert sorted(subsets) == [[1, 10, 100], [100], [100]]
    assert datalist["training"] == [
        {
            "id": "s50414267_02aa804e-bde0afdd",
            "image": "files/p10/p10000032/s50414267/02aa804e-bde0afdd.jpg",
            "patient": "p10000032",
            "study": "s50414267",
            "view": "PA",
            "findings": "Clear lungs.",
            "impression": "No process.",
            "label": [None, -1, 1],
        },
        {
            "id": "s53189527_2a2277a9-b0ded155",
            "image": "files/p10/p10000032/s53189527/2a2277a9-b0ded155.jpg",
            "patient": "p10000032",
            "study": "s53189527",
            "view": "AP",
            "impression": "Unchanged small effusion.",
            "label": [0, 1, None],
        },
        {
            "id": "s53189527_e084de3b-be89b11e",
            "image": "files/p10/p10000032/s53189527/e084de3b-be89b11e.jpg",
            "patient": "p10000032",
            "study": "s53189527",
            "view": "PA",
            "impression": "Unchanged small effusion.",
            "label": [0, 1, None],
        },
    ]
    assert datalist["validation"] == [
        {
            "id": "s51029426_68b5c4b1-227d0485",
            "image": "files/p11/p11000011/s51029426/68b5c4b1-227d0485.jpg",
            "patient": "p11000011",
            "study": "s51029426",
            "view": "AP",
            "findings": "Tube in place.",  # without labels: not annotated, which is not the same as all null
        }
    ]
    assert datalist["test"] == [
        {
            "id": "s52000001_0a000000-00000001",
            "image": "files/p12/p12000012/s52000001/0a000000-00000001.jpg",
            "patient": "p12000012",
            "study": "s52000001",
            "view": "AP",
            "findings": "Heart is large.",
            "impression": "New \ufffd one.",
            "label": [1, None, 0],
        }
    ]
    header = {key: datalist[key] for key in ("name", "task", "classes", "multilabel", "image_root", "split", "filters")}
    assert header == {
        "name": "mimic_cxr",
        "task": "pretrain",
        "classes": ["Atelectasis", "Edema", "No Finding"],
        "multilabel": True,
        "image_root": str(release),
        "split": {"method": "official", "unit": "patient", "leak_checked": True},
        "filters": {
            "view not PA or AP": 3,
            "report has neither findings nor impression": 1,
            "report of fewer than 3 words": 1,
        },
    }
    assert datalist["subsets"] == {name: {"seed": 1, "n": n} for name, n in (("1", 1), ("10", 1), ("100", 3))}
    printed = capsys.readouterr().out
    assert "left out: 3 (view not PA or AP)" in printed
    assert "unusable" not in printed
    assert len(load_datalist(release.parent / "out" / "datalist.json", "training", check_files="all")) == 3


def test_without_labels(release: Path) -> None:
    datalist = _prepare(release)
    assert "classes" not in datalist
    assert not any("label" in item for item in datalist["training"] + datalist["test"])


def test_last_paragraph_and_shorter_reports(release: Path) -> None:
    datalist = _prepare(release, "--last-paragraph", "--min-words", "2")
    texts = {item["study"]: item for item in datalist["test"]}
    assert texts["s52000002"]["text"] == "Lungs are clear now."
    assert "findings" not in texts["s52000002"]
    assert texts["s52000003"]["impression"] == "No change."
    assert datalist["filters"] == {"view not PA or AP": 3}


def test_reports_in_a_folder_of_their_own(release: Path, capsys: pytest.CaptureFixture[str]) -> None:
    expected = _prepare(release)
    for path in release.rglob("s*.txt"):
        target = release.parent / "reports" / path.relative_to(release)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(path, target)
    assert _prepare(release, "--reports", str(release.parent / "reports")) == expected
    shutil.rmtree(release.parent / "out")
    error = _refused(release, capsys)
    assert error.startswith(
        "error: files/p10/p10000032/s50414267/02aa804e-bde0afdd.jpg: "
        "there is no report files/p10/p10000032/s50414267.txt under"
    )
    assert "no folder 'files' with the reports" in _refused(release, capsys, "--reports", str(release / "files"))


def test_sectioned_reports(release: Path) -> None:
    sectioned = release.parent / "mimic_cxr_sectioned.csv"
    sectioned.write_text(
        "study,impression,findings,last_paragraph,comparison\n"
        's50414267,"Sectioned\n impression.",Sectioned findings.,,None.\n'
        "s53189527,,,Only a last paragraph.,\n"
        "s51029426,Three more words.,,,\n"
    )
    datalist = _prepare(release, "--sectioned", str(sectioned), "--last-paragraph")
    found = [
        {key: item[key] for key in ("findings", "impression", "text") if key in item} for item in datalist["training"]
    ]
    assert found == [
        {"findings": "Sectioned findings.", "impression": "Sectioned impression."},
        {"text": "Only a last paragraph."},
        {"text": "Only a last paragraph."},
    ]
    assert datalist["filters"]["study not in mimic_cxr_sectioned.csv"] == 3
    assert "test" not in datalist


def test_missing_files_are_skipped_and_listed(release: Path) -> None:
    (release / "files/p11/p11000011/s51029426.txt").unlink()
    (release / "files/p10/p10000032/s53189527/e084de3b-be89b11e.jpg").unlink()
    split = pd.read_csv(release / "mimic-cxr-2.0.0-split.csv", dtype=str)
    split[split["dicom_id"] != "0a000000-00000001"].to_csv(release / "mimic-cxr-2.0.0-split.csv", index=False)
    datalist = _prepare(release, "--on-error", "skip", "--min-words", "2")
    assert {split: len(datalist.get(split, [])) for split in ("training", "validation", "test")} == {
        "training": 2,
        "validation": 0,
        "test": 1,
    }
    skipped = pd.read_csv(release.parent / "out" / "skipped.csv")
    assert [
        (item.rpartition("/")[2], reason.split(f" {release}")[0].split(" under")[0])
        for item, reason in skipped.itertuples(index=False)
    ] == [
        ("0a000000-00000001.jpg", "the split file doesn't say train, validate or test for it"),
        ("68b5c4b1-227d0485.jpg", "there is no report files/p11/p11000011/s51029426.txt"),
        ("item s53189527_e084de3b-be89b11e", "there is no image file"),
    ]


def test_limit_counts_frontal_images(release: Path) -> None:
    datalist = _prepare(release, "--limit", "2")
    assert [item["id"][:9] for item in datalist["training"]] == ["s50414267", "s53189527"]


def test_missing_tables(release: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (release / "mimic-cxr-2.0.0-chexpert.csv.gz").unlink()
    assert "neither mimic-cxr-2.0.0-chexpert.csv.gz nor" in _refused(release, capsys, "--labels")
    (release / "mimic-cxr-2.0.0-split.csv").write_text("dicom_id,part\na,train\n")
    assert "split.csv: there is no column 'split'; the columns are dicom_id, part" in _refused(release, capsys)
    (release / "mimic-cxr-2.0.0-metadata.csv.gz").unlink()
    error = _refused(release, capsys)
    assert f"{release}: --root holds neither mimic-cxr-2.0.0-metadata.csv.gz nor mimic-cxr-2.0.0-metadata.csv" in error


def test_damaged_tables(release: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels = release / "mimic-cxr-2.0.0-chexpert.csv.gz"
    labels.write_bytes(gzip.compress(LABELS.replace("study_id", "study").encode()))
    assert "the table of chexpert has no column 'study_id' or no label; it has subject_id, study" in _refused(
        release, capsys, "--labels"
    )
    labels.write_bytes(gzip.compress(LABELS.replace(",-1.0,", ",yes,").encode()))
    assert "the table of chexpert holds a label that is no number" in _refused(release, capsys, "--labels")
    split = release / "mimic-cxr-2.0.0-split.csv"
    split.write_text(split.read_text().rpartition(",")[0])
    assert "the file was cut off, download it again" in _refused(release, capsys)


def test_labels_of_negbio(release: Path) -> None:
    table = "subject_id,study_id,Edema,Fracture\n10000032,50414267,-1.0,\n"
    (release / "mimic-cxr-2.0.0-negbio.csv").write_text(table)
    datalist = _prepare(release, "--negbio")
    assert datalist["classes"] == ["Edema", "Fracture"]
    assert [item.get("label") for item in datalist["training"]] == [[-1, None], None, None]
    with pytest.raises(SystemExit):
        _prepare(release, "--negbio", "--labels")


def test_a_list_before_the_images_are_there(release: Path) -> None:
    expected = _prepare(release)
    for image in release.rglob("*.jpg"):
        image.unlink()
    assert _prepare(release, "--without-images") == expected
    assert expected["published"] == {"items": 377110, "images": 377110}


FIVE = ("Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Pleural Effusion")
CLASSES = (*FIVE, "Fracture", "No Finding")


def _studies() -> list[tuple[str, str, str, dict[str, float]]]:
    """Patient, study, split and labels: 203 training studies of each of the five, and some that the rule refuses."""
    alone = [(f"{n}", name, {name: 1.0, "No Finding": n % 2}) for n, name in enumerate(FIVE * 203, start=10_000_000)]
    refused: list[tuple[str, str, dict[str, float]]] = [
        ("20000001", "none", {"No Finding": 1.0}),
        ("20000002", "two", {"Edema": 1.0, "Atelectasis": 1.0}),
        ("20000003", "uncertain beside", {"Edema": 1.0, "Fracture": -1.0}),
        ("20000004", "uncertain", {"Edema": -1.0}),
        ("20000005", "another", {"Fracture": 1.0}),
    ]
    studies = [(patient, "train", labels) for patient, _, labels in alone + refused]
    studies += [(f"{n}", split, {"Edema": 1.0}) for n, split in ((30000001, "validate"), (30000002, "test"))]
    return [(patient, f"5{patient}", split, labels) for patient, split, labels in studies]


def _large_release(root: Path) -> Path:
    """Tables only, with reports in a sectioned table; every training study has two images."""
    root.mkdir()
    studies = _studies()
    images = [
        (p, s, f"{s}-{n}", "AP", split) for p, s, split, _ in studies for n in range(2 if split == "train" else 1)
    ]
    table = pd.DataFrame(images, columns=["subject_id", "study_id", "dicom_id", "ViewPosition", "split"])
    table.drop(columns="split").to_csv(root / "mimic-cxr-2.0.0-metadata.csv", index=False)
    table[["dicom_id", "split"]].to_csv(root / "mimic-cxr-2.0.0-split.csv", index=False)
    labels = [{"subject_id": p, "study_id": s, **dict.fromkeys(CLASSES), **found} for p, s, _, found in studies]
    pd.DataFrame(labels).to_csv(root / "mimic-cxr-2.0.0-chexpert.csv", index=False)
    report = {"impression": "One two three.", "findings": "", "last_paragraph": "", "comparison": ""}
    pd.DataFrame([{"study": f"s{s}", **report} for _, s, _, _ in studies]).to_csv(root / "sectioned.csv", index=False)
    return root


def test_retrieval_5x200(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = _large_release(tmp_path / "large")
    options = ["--sectioned", str(root / "sectioned.csv"), "--without-images", "--retrieval-5x200"]
    datalist = _prepare(root, *options)
    label_of = {f"s{study}": labels for _, study, _, labels in _studies()}
    groups = {name: [item for item in datalist["test"] if item["group"] == name] for name in FIVE}
    assert {name: len(items) for name, items in groups.items()} == dict.fromkeys(FIVE, 200)
    assert all(label_of[item["study"]][name] == 1 for name, items in groups.items() for item in items)
    assert len({item["study"] for item in datalist["test"]}) == 1000  # one image of a study
    assert len(datalist["training"]) == 2 * (5 * 203 + 5 - 1000)
    patients = [{item["patient"] for item in datalist[split]} for split in ("training", "test")]
    assert not patients[0] & patients[1]
    assert [item["patient"] for item in datalist["validation"]] == ["p30000001"]
    assert not any("group" in item or "label" in item for item in datalist["training"])
    assert datalist["filters"] == {
        "training image of a patient in 5x200": 1000,
        "image of the official test split, which 5x200 replaces": 1,
    }
    assert datalist["split"] == {"method": "retrieval_5x200", "unit": "patient", "seed": 0, "leak_checked": True}
    assert _prepare(root, *options)["test"] == datalist["test"]
    assert {item["id"] for item in _prepare(root, *options, "--seed", "1")["test"]} != {
        item["id"] for item in datalist["test"]
    }
    capsys.readouterr()
    shutil.rmtree(tmp_path / "out")
    assert "5x200 needs 200 training studies with" in _refused(root, capsys, *options, "--limit", "500")
    table = (root / "mimic-cxr-2.0.0-chexpert.csv").read_text()
    (root / "mimic-cxr-2.0.0-chexpert.csv").write_text(table.replace("Edema", "Oedema"))
    assert "the CheXpert labels have no class 'Edema', only Atelectasis" in _refused(root, capsys, *options)
