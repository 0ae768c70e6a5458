"""RSNA Pneumonia Detection Challenge, stage 2, as Kaggle's archive unpacks.

    python -m scripts.prepare rsna --root rsna-pneumonia-detection-challenge --out lists/rsna

Needed under --root: `stage_2_train_labels.csv` and `stage_2_train_images/PATIENT.dcm`. The labels of stage 1 differ and
are not read; the images of `stage_2_test_images` have no labels on Kaggle and are left out.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import pandas as pd

from bundle.data.errors import DataError
from scripts.preparing.assigned import Assigned, as_splits, assign_evenly, describe_published, present
from scripts.preparing.box_fit import fit_boxes
from scripts.preparing.drawn_splits import draw_splits
from scripts.preparing.official import add_root, declare_leaks, find, image_root
from scripts.preparing.record import Record
from scripts.preparing.split_lists import add_lists, assign_listed, check_lists
from scripts.preparing.table import read_table

__all__ = ["HELP", "add_arguments", "build"]

HELP = "RSNA Pneumonia (Kaggle, stage 2): pneumonia or not, with boxes"

_LABELS = "stage_2_train_labels.csv"
_IMAGES = "stage_2_train_images"
_COLUMNS = ["patientId", "x", "y", "width", "height", "Target"]
_SIZE = [1024, 1024]  # of every image
_HELD_OUT = 0.4
_COUNTS = {"items": 26684, "images": 26684}
_SPLIT_COUNTS = {"training": 16010, "validation": 5337, "test": 5337}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this data set's options."""
    add_root(parser, f"{_LABELS} and {_IMAGES}/")
    parser.add_argument(
        "--split",
        choices=("mgca", "ours", "lists"),
        default="mgca",
        help="mgca: 60/20/20 by patient, as MGCA's code draws it and G2D uses it; ours: 60/20/20 by patient with "
        "--seed; lists: files in --lists (default: mgca)",
    )
    add_lists(parser)


def build(args: argparse.Namespace) -> dict[str, Any]:
    """Make the data list.

    Args:
        args: the options of `add_arguments` and the common ones of `scripts.prepare`.

    Returns:
        The data list; items without pneumonia have the label 0 and no boxes.

    Raises:
        DataError: a file of the release is missing or (without `--on-error skip`) an image can't be used.
    """
    check_lists(args)
    rows = _rows_by_patient(read_table(find(args.root, _LABELS), _COLUMNS))
    if not args.without_images:
        find(args.root, _IMAGES)
    assigned, split, counts = _assign(rows, args)
    datalist = {
        "name": "rsna_pneumonia",
        "task": "classification",
        "modality": {"0": "CR"},
        "licence": "rules of the RSNA Pneumonia Detection Challenge (Kaggle)",
        "source": "RSNA Pneumonia Detection Challenge, Kaggle 2018, stage 2",
        "classes": ["pneumonia"],
        "multilabel": True,
        "image_root": image_root(args.root),
        "split": {**split, "leak_checked": True},
        **describe_published(args, counts),
        **as_splits(present(assigned, args), args.seed),
    }
    return declare_leaks(datalist) if args.split == "lists" else datalist


def _rows_by_patient(table: pd.DataFrame) -> dict[str, list[list[str | None]]]:
    """The other cells of each patient's rows; the patients sorted, as the published draw has them."""
    rows: dict[str, list[list[str | None]]] = {}
    for patient, *cells in table.itertuples(index=False):
        rows.setdefault(str(patient), []).append(cells)
    return dict(sorted(rows.items()))


def _assign(
    rows: dict[str, list[list[str | None]]], args: argparse.Namespace
) -> tuple[list[Assigned], dict[str, Any], dict[str, int]]:
    """The items with their splits, what the header says about these, and the published counts."""
    if args.split == "mgca":  # drawn over all patients, whether their rows can be used or not
        drawn = zip(draw_splits(len(rows), _HELD_OUT), rows.items(), strict=True)
        made = [(split, _made(patient, cells, args.record)) for split, (patient, cells) in drawn]
        ratios = [1 - _HELD_OUT, _HELD_OUT / 2, _HELD_OUT / 2]
        about = {"method": "mgca", "unit": "patient", "ratios": ratios, "seed": 0}
        return [(split, item) for split, item in made if item], about, {**_COUNTS, **_SPLIT_COUNTS}
    items = [item for patient, cells in rows.items() if (item := _made(patient, cells, args.record))]
    if args.split == "lists":
        return assign_listed(items, args.lists, args.record), {"method": "lists", "unit": "patient"}, {}
    about = {"method": "ours", "unit": "patient", "ratios": [0.6, 0.2, 0.2], "seed": args.seed}
    return assign_evenly(items, 0.2, 0.2, args.seed), about, {**_COUNTS, **_SPLIT_COUNTS}


def _made(patient: str, rows: Sequence[Sequence[str | None]], record: Record) -> dict[str, Any] | None:
    try:
        return _item(patient, rows, record)
    except DataError as error:
        record.reject(f"{_LABELS} ({patient})", str(error))
        return None


def _item(patient: str, rows: Sequence[Sequence[str | None]], record: Record) -> dict[str, Any]:
    targets = {row[-1] for row in rows}
    if targets not in ({"0"}, {"1"}):
        shown = ", ".join(sorted(str(target) for target in targets))
        raise DataError(f"its Target is {shown}; it must be 0 or 1 in all rows of an image")
    positive = targets == {"1"}
    boxes = [_corners(row[:4]) for row in rows if any(cell is not None for cell in row[:4])]
    if positive != bool(boxes):
        raise DataError(f"its Target is {int(positive)}, but it has {len(boxes)} boxes")
    return {
        "id": patient,
        "image": f"{_IMAGES}/{patient}.dcm",
        "patient": patient,
        "label": [int(positive)],
        **fit_boxes(boxes, [0] * len(boxes), _SIZE, record),
    }


def _corners(cells: Sequence[str | None]) -> list[float]:
    try:
        x, y, width, height = (float(str(cell)) for cell in cells)
    except ValueError:
        raise DataError(f"its box {', '.join(map(str, cells))} is not four numbers") from None
    return [x, y, x + width, y + height]
