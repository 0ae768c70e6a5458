"""Object-CXR (JF Healthcare, MIDL 2020): foreign objects in radiographs, as the two archives unpack.

    python -m scripts.prepare object_cxr --root object-CXR --out lists/object_cxr

Needed under --root: `train.csv`, `dev.csv` and the folders `train/` and `dev/` with the JPEG files. The official test
part is hidden, so `dev` is the test split; validation is drawn from `train`.
"""

from __future__ import annotations

import argparse
from pathlib import PurePosixPath
from typing import Any

from bundle.data.errors import DataError
from scripts.preparing.assigned import Assigned, as_splits, assign_evenly, describe_published, present
from scripts.preparing.boxed_items import with_fitted_boxes
from scripts.preparing.official import add_root, find, image_root
from scripts.preparing.shapes import shape_bounds
from scripts.preparing.table import read_table

__all__ = ["HELP", "add_arguments", "build"]

HELP = "Object-CXR: foreign objects as boxes"

_PARTS = ("train", "dev")
_NAME_COLUMNS = ("image_name", "image_path")
_SHARE = 0.2
_COUNTS = {"items": 9000, "images": 9000, "test": 1000}
_SPLIT_COUNTS = {"training": 6400, "validation": 1600}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this data set's options."""
    add_root(parser, "train.csv, dev.csv, train/ and dev/")
    parser.add_argument(
        "--validation",
        type=float,
        default=_SHARE,
        help="share of train for validation (default: 0.2, as G2D states; MGCA's code holds out 0.1)",
    )


def build(args: argparse.Namespace) -> dict[str, Any]:
    """Make the data list.

    Args:
        args: the options of `add_arguments` and the common ones of `scripts.prepare`.

    Returns:
        The data list; images without foreign object have the label 0 and no boxes.

    Raises:
        DataError: a file of the release is missing or (without `--on-error skip`) an image can't be used.
    """
    if args.without_images:
        raise DataError("object_cxr can't be listed --without-images: boxes need the sizes of the images")
    train, dev = (_items(part, args) for part in _PARTS)
    assigned: list[Assigned] = [*assign_evenly(train, args.validation, 0, args.seed), *(("test", item) for item in dev)]
    counts = _COUNTS | (_SPLIT_COUNTS if args.validation == _SHARE else {})
    return {
        "name": "object_cxr",
        "task": "detection",
        "modality": {"0": "CR"},
        "source": "Object-CXR, JF Healthcare, MIDL 2020: train and dev",
        "classes": ["foreign object"],
        "multilabel": True,
        "image_root": image_root(args.root),
        "split": {
            "method": "dev as test, train by share",
            "unit": "image",
            "ratios": [round(1 - args.validation, 6), args.validation],
            "seed": args.seed,
            "leak_checked": False,  # patients are unknown
        },
        **describe_published(args, counts),
        **as_splits(with_fitted_boxes(present(assigned, args), args), args.seed),
    }


def _items(part: str, args: argparse.Namespace) -> list[dict[str, Any]]:
    """The items of a part, boxes still as annotated."""
    path = find(args.root, f"{part}.csv")
    find(args.root, part)
    table = read_table(path)
    column = next((name for name in _NAME_COLUMNS if name in table.columns), None)
    if column is None or "annotation" not in table.columns:
        columns = ", ".join(table.columns)
        raise DataError(f"{path}: columns image_name (or image_path) and annotation are needed; it has {columns}")
    items: dict[str, dict[str, Any]] = {}
    for number, (name, annotation) in enumerate(table[[column, "annotation"]].itertuples(index=False), start=2):
        where = f"{path} row {number} ({name})"
        try:
            item = _item(part, name, annotation)
        except DataError as error:
            args.record.reject(where, str(error))
            continue
        if item["id"] in items:
            args.record.reject(where, "an earlier row has the same image")
        items.setdefault(item["id"], item)
    return list(items.values())


def _item(part: str, name: str | None, annotation: str | None) -> dict[str, Any]:
    if name is None:
        raise DataError("its image is empty")
    file = PurePosixPath(name.replace("\\", "/")).name
    boxes = shape_bounds(annotation or "")
    return {
        "id": f"{part}/{PurePosixPath(file).stem}",
        "image": f"{part}/{file}",
        "label": [int(bool(boxes))],
        "boxes": boxes,
        "box_label": [0] * len(boxes),
    }
