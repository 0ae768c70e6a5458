"""VinDr-CXR 1.0.0, as PhysioNet lays it out (credentialed access).

    python -m scripts.prepare vindr_cxr --root vindr-cxr/1.0.0 --out lists/vindr_cxr

Needed under --root: `train/ID.dicom`, `test/ID.dicom` and `annotations/` with `annotations_train.csv`,
`annotations_test.csv`, `image_labels_train.csv` and `image_labels_test.csv`. The archive of the Kaggle competition has
other tables and 14 of the findings; it is not read.

Each training image was read by three radiologists: its labels are those that most of them gave (-1, uncertain, where
they agree on nothing), its boxes those of all of them, so that a finding may have several. Test images have one set of
labels and boxes, the consensus of five.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from bundle.data.errors import DataError
from scripts.preparing.assigned import Assigned, as_splits, assign_evenly, describe_published, present
from scripts.preparing.boxed_items import with_fitted_boxes
from scripts.preparing.official import add_root, find, image_root
from scripts.preparing.record import Record
from scripts.preparing.table import find_column, read_table
from scripts.releases.reader_votes import majority_labels

__all__ = ["HELP", "add_arguments", "build"]

HELP = "VinDr-CXR (PhysioNet): 28 labels, 22 of them with boxes"

_PARTS = ("train", "test")
_WITHOUT_BOXES = ("COPD", "Lung tumor", "Pneumonia", "Tuberculosis", "Other diseases", "No finding")
_RENAMED = {"Other disease": "Other diseases"}  # the two tables of labels name this column differently
_SIDES = ["x_min", "y_min", "x_max", "y_max"]
_SHARE = 0.2
_COUNTS = {"items": 18000, "images": 18000, "test": 3000}
_SPLIT_COUNTS = {"training": 12000, "validation": 3000}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this data set's options."""
    add_root(parser, "train/, test/ and annotations/")
    parser.add_argument("--validation", type=float, default=_SHARE, help="share of train for validation (default: 0.2)")


def build(args: argparse.Namespace) -> dict[str, Any]:
    """Make the data list.

    Args:
        args: the options of `add_arguments` and the common ones of `scripts.prepare`.

    Returns:
        The data list with labels and boxes; `box_classes` are the findings that are localised.

    Raises:
        DataError: a file of the release is missing or (without `--on-error skip`) an image can't be used.
    """
    if args.without_images:
        raise DataError("vindr_cxr can't be listed --without-images: boxes need the sizes in the DICOM files")
    train, test = (_labels(part, args.root) for part in _PARTS)
    classes = list(train.columns)
    if set(test.columns) != set(classes):
        other = ", ".join(sorted({*test.columns} ^ {*classes}))
        raise DataError(f"{args.root}: image_labels_train.csv and image_labels_test.csv differ in the columns {other}")
    box_classes = [name for name in classes if name not in _WITHOUT_BOXES]
    items = {
        part: list(_items(part, table[classes], box_classes, args))
        for part, table in zip(_PARTS, (train, test), strict=True)
    }
    assigned: list[Assigned] = [
        *assign_evenly(items["train"], args.validation, 0, args.seed),
        *(("test", item) for item in items["test"]),
    ]
    return {
        "name": "vindr_cxr",
        "task": "detection",
        "modality": {"0": "CR"},
        "licence": "PhysioNet, credentialed access under a data use agreement",
        "source": "VinDr-CXR 1.0.0, PhysioNet",
        "classes": classes,
        "box_classes": box_classes,
        "multilabel": True,
        "image_root": image_root(args.root),
        "split": {
            "method": "official test, train by share",
            "unit": "image",
            "ratios": [round(1 - args.validation, 6), args.validation],
            "seed": args.seed,
            "leak_checked": False,  # patients are unknown
        },
        **describe_published(args, _COUNTS | (_SPLIT_COUNTS if args.validation == _SHARE else {})),
        **as_splits(with_fitted_boxes(present(assigned, args), args), args.seed),
    }


def _find_table(root: Path, name: str) -> Path:
    return find(root, f"annotations/{name}", name)


def _labels(part: str, root: Path) -> pd.DataFrame:
    """The labels of a part's images: a row an image, in the order of the table; a column a class."""
    path = _find_table(root, f"image_labels_{part}.csv")
    table = read_table(path).rename(columns=_RENAMED)
    find_column(table, path, "image_id")
    if len(table.columns) < 3:
        raise DataError(f"{path}: it has no columns of findings, only {', '.join(table.columns)}")
    return majority_labels(table.drop(columns=["rad_id"], errors="ignore"), path)


def _items(
    part: str, labels: pd.DataFrame, box_classes: list[str], args: argparse.Namespace
) -> Iterator[dict[str, Any]]:
    """The items of a part, boxes still as annotated."""
    find(args.root, part)
    path = _find_table(args.root, f"annotations_{part}.csv")
    boxes = _boxes(path, set(labels.index), box_classes, args.record)
    for image, values in zip(labels.index, labels.to_numpy(dtype=object).tolist(), strict=True):
        drawn = boxes.get(image, [])
        yield {
            "id": image,
            "image": f"{part}/{image}.dicom",
            "view": "PA",  # all of them
            "label": values,
            "boxes": [box for box, _ in drawn],
            "box_label": [number for _, number in drawn],
        }


def _boxes(
    path: Path, images: set[str], box_classes: list[str], record: Record
) -> dict[str, list[tuple[list[float], int]]]:
    """Box and number of its class, by image; rows without coordinates say that there is nothing to be drawn."""
    number_of = {name: number for number, name in enumerate(box_classes)}
    found: dict[str, list[tuple[list[float], int]]] = {}
    table = read_table(path, ["image_id", "class_name", *_SIDES])
    for row, (image, finding, *sides) in enumerate(table.itertuples(index=False), start=2):
        if not any(side is not None for side in sides):
            continue
        try:
            box = _box(sides)
            if image not in images:
                raise DataError("its image is not in the table of labels")
            if finding not in number_of:
                raise DataError(f"its class '{finding}' is none of those with boxes")
        except DataError as error:
            record.reject(f"{path} row {row} ({image})", str(error))
            continue
        found.setdefault(image, []).append((box, number_of[finding]))
    return found


def _box(sides: list[str | None]) -> list[float]:
    try:
        return [float(str(side)) for side in sides]
    except ValueError:
        raise DataError(f"its box {', '.join(map(str, sides))} is not four numbers") from None
