"""The data list of VinDr-CXR, from a small release as PhysioNet lays it out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from prepared import prepared
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian

from bundle.data.labelled import labelled_items, list_classes
from scripts.prepare import main

SPLITS = ("training", "validation", "test")
LOCAL = [
    *("Aortic enlargement", "Atelectasis", "Calcification", "Cardiomegaly", "Clavicle fracture", "Consolidation"),
    *("Edema", "Emphysema", "Enlarged PA", "ILD", "Infiltration", "Lung Opacity", "Lung cavity", "Lung cyst"),
    *("Mediastinal shift", "Nodule/Mass", "Pleural effusion", "Pleural thickening", "Pneumothorax"),
    *("Pulmonary fibrosis", "Rib fracture", "Other lesion"),
]
CLASSES = [*LOCAL, "COPD", "Lung tumor", "Pneumonia", "Tuberculosis", "Other diseases", "No finding"]
FOUND, SPLIT_VOTE, NORMAL = "000434271f63a053c4128a0ba6352c7f", "00053190460d56c53cc3e57321387478", "0005e8e3701dfb1d"
READERS = [  # image, reader, positive labels
    (FOUND, "R9", ["Cardiomegaly", "Pneumonia"]),
    (FOUND, "R8", ["Cardiomegaly"]),
    (FOUND, "R10", ["ILD", "Pneumonia"]),
    (SPLIT_VOTE, "R1", ["ILD"]),
    (SPLIT_VOTE, "R2", ["No finding"]),
    (SPLIT_VOTE, "R3", ["Edema"]),
    *((NORMAL, reader, ["No finding"]) for reader in ("R1", "R2", "R3")),
]
BOXES = [
    f"{FOUND},R9,Cardiomegaly,10.5,20.25,60.123,40",
    f"{FOUND},R8,Cardiomegaly,11,20,61,41.5",
    f"{FOUND},R10,ILD,0,-0.4,30,20",
    f"{SPLIT_VOTE},R1,ILD,1,2,3,4",
    f"{SPLIT_VOTE},R2,No finding,,,,",
    f"{NORMAL},R1,No finding,,,,",
]


def _labels(rows: list[tuple[str, list[str]]], classes: list[str], first: str) -> str:
    lines = [",".join([key, *("1" if name in names else "0" for name in classes)]) for key, names in rows]
    return "\n".join([f"{first},{','.join(classes)}", *lines]) + "\n"


def _dicom(path: Path, rows: int, columns: int) -> None:
    file = Dataset()
    file.file_meta = FileMetaDataset()
    file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file.file_meta.MediaStorageSOPClassUID = ComputedRadiographyImageStorage
    file.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    file.Rows, file.Columns = rows, columns
    path.parent.mkdir(parents=True, exist_ok=True)
    file.save_as(path, enforce_file_format=True)


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """10 training images of three readers and 2 test images with consensus labels."""
    root = tmp_path / "1.0.0"
    notes = root / "annotations"
    notes.mkdir(parents=True)
    others = [(f"{number:032d}", "R1", ["No finding"]) for number in range(7)]
    rows = [(f"{image},{reader}", names) for image, reader, names in READERS + others]
    (notes / "image_labels_train.csv").write_text(_labels(rows, CLASSES, "image_id,rad_id"))
    (notes / "annotations_train.csv").write_text(
        "image_id,rad_id,class_name,x_min,y_min,x_max,y_max\n" + "".join(f"{row}\n" for row in BOXES)
    )
    renamed = ["Other disease" if name == "Other diseases" else name for name in reversed(CLASSES)]
    (notes / "image_labels_test.csv").write_text(
        _labels([("t1", ["Other disease", "Rib fracture"]), ("t2", ["No finding"])], renamed, "image_id")
    )
    (notes / "annotations_test.csv").write_text(
        "image_id,class_name,x_min,y_min,x_max,y_max\nt1,Rib fracture,5,6,7,8\nt2,No finding,,,,\n"
    )
    for image in {image for image, _, _ in READERS + others}:
        _dicom(root / "train" / f"{image}.dicom", 50, 70)
    for image in ("t1", "t2"):
        _dicom(root / "test" / f"{image}.dicom", 9, 8)
    return root


def _refused(root: Path, capsys: pytest.CaptureFixture[str], *options: str) -> str:
    out = root.parent / "refused"
    assert main(["vindr_cxr", "--root", str(root), "--out", str(out), *options]) == 2
    assert not out.exists()
    return capsys.readouterr().err


def _items(datalist: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {item["id"]: item for split in SPLITS for item in datalist.get(split, [])}


def _label(*names: str) -> list[int]:
    return [int(name in names) for name in CLASSES]


def test_every_field(release: Path) -> None:
    out = release.parent / "out"
    datalist = prepared("vindr_cxr", release, out)
    items = _items(datalist)
    for item in items.values():
        item.pop("subset", None)
    assert items[FOUND] == {
        "id": FOUND,
        "image": f"train/{FOUND}.dicom",
        "view": "PA",
        "label": _label("Cardiomegaly", "Pneumonia"),
        "boxes": [[10.5, 20.25, 60.123, 40.0], [11.0, 20.0, 61.0, 41.5], [0.0, 0, 30.0, 20.0]],
        "box_label": [3, 3, 9],
        "size": [50, 70],
    }
    disputed = ("ILD", "Edema", "No finding")  # no two readers agree
    assert items[SPLIT_VOTE]["label"] == [-int(name in disputed) for name in CLASSES]
    assert items[SPLIT_VOTE]["box_label"] == [9]
    assert items[NORMAL] == {
        "id": NORMAL,
        "image": f"train/{NORMAL}.dicom",
        "view": "PA",
        "label": _label("No finding"),
        "boxes": [],
        "box_label": [],
    }
    assert datalist["test"][0] == {
        "id": "t1",
        "image": "test/t1.dicom",
        "view": "PA",
        "label": _label("Other diseases", "Rib fracture"),
        "boxes": [[5.0, 6.0, 7.0, 8.0]],
        "box_label": [20],
        "size": [9, 8],
    }
    assert [len(datalist[split]) for split in SPLITS] == [8, 2, 2]
    keys = ("name", "task", "classes", "box_classes", "image_root", "filters")
    assert {key: datalist[key] for key in keys} == {
        "name": "vindr_cxr",
        "task": "detection",
        "classes": CLASSES,
        "box_classes": LOCAL,
        "image_root": release.as_posix(),
        "filters": {"part of a box that was outside of its image": 1},
    }
    counts = {"items": 18000, "images": 18000, "test": 3000, "training": 12000, "validation": 3000}
    assert datalist["published"] == counts
    path = out / "datalist.json"
    assert list_classes(path, "detection") == LOCAL
    assert len(labelled_items(path, "test", "detection", classes=LOCAL)) == 2
    assert len(labelled_items(path, "training", "classification", classes=CLASSES)) == 8


def test_tables_beside_the_folders(release: Path) -> None:
    expected = prepared("vindr_cxr", release, release.parent / "out")
    for path in (release / "annotations").iterdir():
        path.rename(release / path.name)
    assert prepared("vindr_cxr", release, release.parent / "again")["sha256"] == expected["sha256"]


def test_another_share(release: Path) -> None:
    datalist = prepared("vindr_cxr", release, release.parent / "out", "--validation", "0.3", "--seed", "5")
    assert [len(datalist[split]) for split in SPLITS] == [7, 3, 2]
    assert datalist["split"]["ratios"] == [0.7, 0.3]
    assert datalist["published"] == {"items": 18000, "images": 18000, "test": 3000}


def test_missing_images_and_limit(release: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (release / "train" / f"{NORMAL}.dicom").unlink()
    (release / "train" / f"{FOUND}.dicom").write_bytes(b"no image")
    assert f"item {NORMAL}: there is no image file" in _refused(release, capsys)
    datalist = prepared("vindr_cxr", release, release.parent / "out", "--on-error", "skip")
    assert len(_items(datalist)) == 10
    assert (release.parent / "out" / "skipped.csv").read_text().count("\n") == 3
    first = prepared("vindr_cxr", release, release.parent / "first", "--limit", "2", "--on-error", "skip")
    assert _items(first).keys() == {SPLIT_VOTE}
    assert "sizes in the DICOM files" in _refused(release, capsys, "--without-images")


def test_rows_that_cannot_be_used(release: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = release / "annotations" / "annotations_test.csv"
    bad = {
        "t1,Hernia,1,2,3,4": "row 2 (t1): its class 'Hernia' is none of those with boxes",
        "t9,Rib fracture,1,2,3,4": "row 2 (t9): its image is not in the table of labels",
        "t1,Rib fracture,1,,3,4": "row 2 (t1): its box 1, None, 3, 4 is not four numbers",
        "t1,Rib fracture,100,200,300,400": "item t1: its box [100.0, 200.0, 300.0, 400.0] lies mostly outside",
    }
    for row, reason in bad.items():
        path.write_text(f"image_id,class_name,x_min,y_min,x_max,y_max\n{row}\n")
        assert reason in _refused(release, capsys)


def test_another_release(release: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels = release / "annotations" / "image_labels_test.csv"
    text = labels.read_text()
    labels.write_text(text.replace("Rib fracture", "Broken rib"))
    assert "differ in the columns Broken rib, Rib fracture" in _refused(release, capsys)
    labels.write_text(text.replace("t2,1", "t2,2"))
    assert "row 3: its No finding is '2'; a label is 1, 0 or empty" in _refused(release, capsys)
    labels.write_text(text.rstrip("\n")[:-4])
    assert "the file was cut off" in _refused(release, capsys)
    labels.write_text(text)
    boxes = release / "annotations" / "annotations_train.csv"
    boxes.write_text(boxes.read_text().replace("class_name", "class_id"))
    assert "there is no column 'class_name'" in _refused(release, capsys)
    (release / "annotations" / "image_labels_train.csv").rename(release / "train.csv")
    error = _refused(release, capsys)
    assert "holds neither annotations/image_labels_train.csv nor image_labels_train.csv, but annotations, test" in error
