"""Items of data lists for supervised stages."""

from __future__ import annotations

import json
import logging
import math
import os
from pathlib import Path
from typing import Any

import pytest

from bundle.data import labelled
from bundle.data.datalist import write_datalist
from bundle.data.errors import DataError
from bundle.data.labelled import annotation, labelled_items, list_classes, list_identity
from bundle.data.manifest import sha256_file

pytestmark = pytest.mark.filterwarnings("ignore:.*name no patient")

CLASSES = ["edema", "effusion"]


def write(folder: Path, items: list[dict[str, Any]], **header: Any) -> Path:
    """A list whose training items are named a, b, ...; their images and masks are empty files."""
    training = []
    for name, keys in zip("abcdefgh", items, strict=False):
        item = {"id": name, "image": f"{name}.png", "patient": f"p-{name}", **keys}
        training.append({key: value for key, value in item.items() if value is not None})
        masks = [found for key in ("mask", "masks") for found in _paths(item.get(key))]
        for file in (item["image"], *masks):
            (folder / file).touch()
    path = folder / "list.json"
    write_datalist(path, {"name": "small", "classes": CLASSES, **header, "training": training})
    return path


def _paths(found: str | dict[str, str] | None) -> list[str]:
    return [found] if isinstance(found, str) else list((found or {}).values())


def test_segmentation_takes_mask_then_run_lengths_then_boxes(tmp_path: Path) -> None:
    size = {"size": [8, 6]}
    path = write(
        tmp_path,
        [
            {"mask": "m.png", "rle": ["0 1"], "boxes": [[0, 0, 2, 2]], **size},
            {"rle": ["3 2"], "boxes": [], **size, "spacing": [0.2, 0.3]},
            {"boxes": []},
            {"label": [1, 0]},
        ],
    )
    items = labelled_items(path, "training", "segmentation")
    assert [item["label"] for item in items] == [
        str(tmp_path / "m.png"),
        {"rle": ["3 2"], "size": [8, 6]},
        {"boxes": [], "size": None},
    ]
    assert [item["image"] for item in items] == [str(tmp_path / f"{name}.png") for name in "abc"]
    assert [item["index"] for item in items] == [0, 1, 2]
    assert items[1]["spacing"] == (0.2, 0.3)
    assert all(math.isnan(side) for side in items[0]["spacing"])
    assert items[0].keys() == {"image", "index", "patient", "spacing", "label"}


def test_boxes_are_masks_only_in_lists_without_masks(tmp_path: Path) -> None:
    boxes = {"boxes": [[0, 0, 2, 2]], "size": [8, 6]}
    mixed = write(tmp_path, [{"mask": "m.png"}, boxes, {"boxes": []}])
    assert len(labelled_items(mixed, "training", "segmentation")) == 2
    alone = write(tmp_path, [boxes, {"boxes": []}])
    assert labelled_items(alone, "training", "segmentation")[0]["label"] == {"boxes": [[0, 0, 2, 2]], "size": [8, 6]}


def test_masks_of_several_classes(tmp_path: Path) -> None:
    path = write(tmp_path, [{"masks": {"edema": "e.png", "effusion": "f.png"}}, {"boxes": []}])
    items = labelled_items(path, "training", "segmentation", mask_key="masks")
    assert items[0]["label"] == {"edema": str(tmp_path / "e.png"), "effusion": str(tmp_path / "f.png")}
    assert items[1]["label"] == {"boxes": [], "size": None}


@pytest.mark.parametrize(("uncertain", "value"), [("ignore", math.nan), ("positive", 1.0), ("negative", 0.0)])
def test_labels_missing_and_uncertain(tmp_path: Path, uncertain: Any, value: float) -> None:
    path = write(tmp_path, [{"label": [-1, 1]}, {"label": [None, 0]}, {"label": [None, None]}, {"mask": "m.png"}])
    items = labelled_items(path, "training", "classification", uncertain=uncertain)
    assert [item["label"] for item in items] == [[pytest.approx(value, nan_ok=True), 1.0], [pytest.approx(math.nan, nan_ok=True), 0.0]]  # fmt: skip # noqa: E501
    assert all(isinstance(number, float) for item in items for number in item["label"])


def test_class_numbers(tmp_path: Path) -> None:
    path = write(tmp_path, [{"label": 1}, {"label": 0}])
    labels = [item["label"] for item in labelled_items(path, "training", "classification", uncertain="positive")]
    assert labels == [1, 0]
    assert all(isinstance(label, int) for label in labels)


def test_detection(tmp_path: Path) -> None:
    one = {"boxes": [[0, 0, 2, 2], [1, 1, 3, 3]], "size": [8, 6]}
    path = write(tmp_path, [{**one, "box_label": [1, 0]}, one, {"boxes": []}, {"mask": "m.png"}])
    items = labelled_items(path, "training", "detection")
    assert [item["box_label"] for item in items] == [[1, 0], [0, 0], []]
    assert items[0]["boxes"] == one["boxes"]
    assert [item.get("boxes_size") for item in items] == [[8, 6], [8, 6], None]


def test_what_is_left_out_is_logged_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write(tmp_path, [{"label": [1, 0]}, {}, {}])
    with caplog.at_level(logging.INFO):
        labelled_items(path, "training", "classification")
    assert [record.getMessage() for record in caplog.records] == [
        f"{path}: 2 of 3 items of training have no label for classification"
    ]


def test_patients_in_the_order_of_items(tmp_path: Path) -> None:
    items = [{"label": 1}, {"mask": "m.png"}, {"label": 0, "patient": None}, {"label": 0}]
    path = write(tmp_path, items, split={"joined": [["first", "p-d"]]})
    found = labelled_items(path, "training", "classification")
    assert [item["patient"] for item in found] == ["p-a", -1, "first"]


def test_subset_is_exactly_that_of_the_list(tmp_path: Path) -> None:
    marks = [[1, 10, 100], [10, 100], [100], [100]]
    subsets = {"1": {"n": 1}, "10": {"n": 2}, "100": {"n": 4}}
    path = write(tmp_path, [{"label": 0, "subset": mark} for mark in marks], subsets=subsets)
    for percent, names in ((1, "a"), (10, "ab"), (100, "abcd")):
        found = labelled_items(path, "training", "classification", subset=percent)
        assert [Path(item["image"]).stem for item in found] == list(names)
        assert [item["patient"] for item in found] == [f"p-{name}" for name in names]
    with pytest.raises(DataError, match=r"list\.json: the list has no subset of 5 %"):
        labelled_items(path, "training", "classification", subset=5)


def test_an_empty_subset_says_what_is_missing(tmp_path: Path) -> None:
    items = [{"label": 0, "subset": [10]}, {"mask": "m.png"}]
    path = write(tmp_path, items, subsets={"10": {"n": 1}})
    with pytest.raises(DataError) as raised:
        labelled_items(path, "training", "segmentation", subset=10)
    assert str(raised.value) == (
        f"{path}: none of the 1 items of the subset of 10 % of training has a mask ('mask'), run lengths ('rle') or "
        "boxes ('boxes'), which segmentation needs"
    )
    with pytest.raises(DataError, match="none of the 2 items of training has 'boxes', which detection needs"):
        labelled_items(path, "training", "detection")


def test_clear_refusals(tmp_path: Path) -> None:
    path = write(tmp_path, [{"label": 0}, {"label": [0, 1]}])
    with pytest.raises(DataError, match="some labels are lists and some are numbers"):
        labelled_items(path, "training", "classification")
    with pytest.raises(DataError, match="no split 'test', only training"):
        labelled_items(path, "test", "classification")
    with pytest.raises(DataError, match="ignore, positive, negative, not 'perhaps'"):
        labelled_items(path, "training", "classification", uncertain="perhaps")  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"none\.json: the data list can't be read"):
        labelled_items(tmp_path / "none.json", "training", "classification")
    odd = write(tmp_path, [{"label": 0, "odd": 3}])
    with pytest.raises(DataError, match=r"list\.json: item a: 'odd' must be a path, or an object of paths"):
        labelled_items(odd, "training", "segmentation", mask_key="odd")


def test_classes_and_identity(tmp_path: Path) -> None:
    path = write(tmp_path, [{"label": 0}], box_classes=["right", "left"])
    assert list_classes(path) == list_classes(path, "segmentation") == CLASSES
    assert list_classes(path, "detection") == ["right", "left"]
    assert list_identity(path) == {"name": "small", "sha256": sha256_file(path)}
    content = json.loads(path.read_text())
    path.write_text(
        json.dumps({key: content[key] for key in ("training",)} | {"training": [{"id": "a", "image": "a.png"}]})
    )
    assert list_identity(path)["name"] == "list"
    with pytest.raises(DataError, match="names no 'classes'"):
        list_classes(path)


def test_a_list_is_read_once_until_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = []
    read = labelled.read_datalist
    monkeypatch.setattr(labelled, "read_datalist", lambda path: reads.append(path) or read(path))
    path = write(tmp_path, [{"label": 0}, {"label": 1}])
    items = labelled_items(path, "training", "classification")
    list_classes(path)
    list_identity(path)
    assert len(reads) == 1
    items[0]["image"] = "changed by a transform"
    assert labelled_items(path, "training", "classification")[0]["image"] == str(tmp_path / "a.png")
    write(tmp_path, [{"label": 1}])
    os.utime(path, ns=(0, 0))
    assert [item["label"] for item in labelled_items(path, "training", "classification")] == [1]


def test_annotation_of_an_item() -> None:
    boxes = {"boxes": [[0, 0, 1, 1]], "size": [4, 4]}
    assert annotation(boxes, "segmentation") is None
    assert annotation(boxes, "segmentation", boxes_are_masks=True) == boxes
    assert annotation({"label": 0}, "classification") == 0
    assert annotation({}, "classification") is None
    assert annotation({"boxes": []}, "detection") == []


def test_phantoms(phantoms: Path) -> None:
    path = phantoms / "datalist.json"
    union = labelled_items(path, "training", "segmentation")
    by_class = labelled_items(path, "training", "segmentation", mask_key="finding_masks")
    assert len(union) == len(by_class) == 60
    normal = [item for item in union if isinstance(item["label"], dict)]
    assert normal
    assert all(item["label"] == {"boxes": [], "size": [64, 64]} for item in normal)
    assert all(os.path.isfile(file) for item in by_class for file in item["label"].values() if isinstance(file, str))
    assert len(labelled_items(path, "validation", "detection")) == 8
    assert len(labelled_items(path, "test", "classification")[0]["label"]) == len(list_classes(path))
