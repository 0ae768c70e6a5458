"""Labelled radiographs from any table: one row an image, with its class or classes, its mask, its boxes (COCO).

    python -m scripts.prepare labelled --table index.csv --out lists/lungs --mask-column mask --mask-classes lung
    python -m scripts.prepare labelled --table index.csv --out lists/boxes --coco boxes_coco.json
    python -m scripts.prepare labelled --table index.csv --out lists/view --label-column projection --classes ap,pa
    python -m scripts.prepare labelled --table train.csv --out lists/findings --label-columns Edema,Pneumonia
    python -m scripts.prepare labelled --table index.csv --out lists/parts --class-masks masks --mask-classes lung,heart

One list may hold all of them. What is empty in the table is not annotated, never negative; rows without any annotation
are left out.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import pandas as pd

from bundle.data.errors import DataError
from bundle.data.manifest import sha256_file
from scripts.preparing.coco import CocoBoxes
from scripts.preparing.label_checks import agreeing
from scripts.preparing.labelled_rows import LabelledRows
from scripts.preparing.options import add_shares, add_trust_patients, names
from scripts.preparing.same_split import split_as
from scripts.preparing.table import find_column, read_table
from scripts.preparing.table_rows import (
    TableRow,
    decoded,
    describe_shares,
    join_persons,
    split_by_share,
    with_existing_image,
    with_subsets,
)

__all__ = ["HELP", "add_arguments", "build"]

HELP = "classes, masks and boxes of radiographs from any CSV or Parquet table"

_GUESSES = {"image": ("image", "path"), "patient": ("patient_id", "patient", "subject_id")}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this data set's options."""
    parser.add_argument("--table", type=Path, required=True, help="the table: .csv, .tsv or .parquet")
    parser.add_argument("--images", type=Path, help="folder that image paths are relative to (default: the table's)")
    parser.add_argument("--name", help="name of the list (default: the table's)")
    for role, guesses in _GUESSES.items():
        parser.add_argument(f"--{role}-column", metavar="NAME", help=f"default: {' or '.join(guesses)}, where present")
    masks = parser.add_mutually_exclusive_group()
    masks.add_argument("--mask-column", metavar="NAME", help="paths of masks (PNG or NIfTI); empty: not annotated")
    parser.add_argument("--masks", type=Path, help="folder that mask paths are relative to (default: --images)")
    parser.add_argument(
        "--mask-classes", type=names, metavar="A,B", help="what masks show; of several, value k is number k"
    )
    masks.add_argument(
        "--class-masks",
        type=Path,
        metavar="DIR",
        help="folder that holds a folder an image, of its name, with a PNG a class, such as left_lung.png: "
        "`finding_masks`; a class without one isn't there, an image without folder isn't annotated",
    )
    label = parser.add_mutually_exclusive_group()
    label.add_argument("--label-column", metavar="NAME", help="the one class of an image, by its name")
    label.add_argument(
        "--label-columns", type=names, metavar="A,B", help="a column a class: 1, 0, -1 (uncertain) or empty"
    )
    parser.add_argument("--classes", type=names, metavar="A,B", help="names in --label-column (default: those there)")
    parser.add_argument("--coco", type=Path, metavar="JSON", help="boxes in COCO form")
    parser.add_argument("--categories", type=names, metavar="A,B", help="COCO categories to take (default: all)")
    parser.add_argument(
        "--boxless",
        choices=("unknown", "negative"),
        default="unknown",
        help="what an image of the COCO file without such a box is: not annotated, or known to show none "
        "(default: unknown)",
    )
    parser.add_argument("--spacing-columns", type=names, metavar="ROW,COLUMN", help="size of an image's pixels in mm")
    add_shares(parser, validation=0.15, test=0.25)
    parser.add_argument(
        "--split-as",
        type=Path,
        metavar="LIST",
        help="put each patient where this list has it, such as that of pretraining",
    )
    add_trust_patients(parser)


def build(args: argparse.Namespace) -> dict[str, Any]:
    """Make the data list.

    Args:
        args: the options of `add_arguments` and the common ones of `scripts.prepare`.

    Returns:
        The data list; `image_root` is absolute.

    Raises:
        DataError: the table, a column, the boxes or (without `--on-error skip`) a row can't be used.
    """
    table = read_table(args.table).head(args.limit)
    reader = _reader(table, args)
    mask_classes = args.mask_classes or ["foreground"]
    rows = list(reader.read(table, args.record))
    if args.coco and not any("boxes" in row.item for row in rows):
        raise DataError(f"{args.coco}: none of its boxes belongs to an image of {args.table}")
    rows = with_existing_image(rows, reader.root, args.workers, args.record)
    rows, small = decoded(rows, reader.root, args.workers, args.record)
    sizes = [thumbnail.size for thumbnail in small]
    agrees = agreeing(rows, sizes, reader.root, mask_classes, args.workers, args.record)
    rows = [row for row, good in zip(rows, agrees, strict=True) if good]
    small = [thumbnail for thumbnail, good in zip(small, agrees, strict=True) if good]
    joined = [] if args.trust_patients else join_persons(rows, small)
    split, splits = _split(rows, "patient" if reader.patient else "image", args)
    return {
        "name": args.name or args.table.stem,
        "modality": {"0": "CR"},
        "source": args.table.name,
        **_tasks(reader, mask_classes),
        "image_root": reader.root.as_posix(),
        "split": {**split, **({"joined": joined} if joined else {})},
        **with_subsets(splits, args.seed),
    }


def _split(rows: list[TableRow], unit: str, args: argparse.Namespace) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the header says of the split, and the items by split."""
    if args.split_as:
        about = {"method": "as another list", "list_sha256": sha256_file(args.split_as), "unit": unit}
        return {**about, "leak_checked": unit == "patient"}, split_as(rows, args.split_as, args.record)
    shares = describe_shares(unit, args.validation, args.test, args.seed)
    return shares, split_by_share(rows, args.validation, args.test, args.seed)


def _reader(table: pd.DataFrame, args: argparse.Namespace) -> LabelledRows:
    if not (args.mask_column or args.class_masks or args.label_column or args.label_columns or args.coco):
        raise DataError(
            "name what is annotated: --label-column, --label-columns, --mask-column, --class-masks or --coco"
        )
    if args.class_masks and not args.mask_classes:
        raise DataError("--class-masks needs --mask-classes, the names of its masks")
    if args.spacing_columns and len(args.spacing_columns) != 2:
        raise DataError("--spacing-columns needs two columns: the distance of rows and that of columns")
    for name in (args.mask_column, args.label_column, *(args.label_columns or ()), *(args.spacing_columns or ())):
        if name is not None:
            find_column(table, args.table, name)
    images = Path(os.path.abspath(args.images or args.table.parent))
    return LabelledRows(
        source=args.table,
        images=images,
        masks=Path(os.path.abspath(args.class_masks or args.masks or images)),
        image=_image_column(table, args),
        patient=_column("patient", table, args),
        mask=args.mask_column,
        class_masks=args.mask_classes if args.class_masks else (),
        label=args.label_column,
        labels=args.label_columns or (),
        classes=_classes(table, args),
        spacing=args.spacing_columns or (),
        coco=CocoBoxes(args.coco, args.categories) if args.coco else None,
        boxless_is_negative=args.boxless == "negative",
    )


def _image_column(table: pd.DataFrame, args: argparse.Namespace) -> str:
    found = _column("image", table, args)
    if found is None:
        columns = ", ".join(table.columns)
        raise DataError(
            f"{args.table}: no column with the image was recognised; name it with --image-column; the columns are "
            f"{columns}"
        )
    return found


def _column(role: str, table: pd.DataFrame, args: argparse.Namespace) -> str | None:
    named = getattr(args, f"{role}_column")
    if named is not None:
        return find_column(table, args.table, named)
    return next((name for name in _GUESSES[role] if name in table.columns and table[name].notna().any()), None)


def _classes(table: pd.DataFrame, args: argparse.Namespace) -> list[str]:
    """The classes that labels have: those named, those in the column, or the columns."""
    if args.label_column is None:
        return args.label_columns or []
    found = args.classes or sorted(table[args.label_column].dropna().unique())
    if len(found) < 2:
        raise DataError(f"{args.table}: '{args.label_column}' names {len(found)} classes; two or more are needed")
    return list(found)


def _tasks(reader: LabelledRows, mask_classes: list[str]) -> dict[str, Any]:
    """What the header says about the annotations: the first kind names `task` and `classes`, others classes beside."""
    kinds = []
    if reader.classes:
        kinds.append(("classification", "classes", list(reader.classes)))
    if reader.mask is not None or reader.class_masks:
        kinds.append(("segmentation", "mask_classes", mask_classes))
    if reader.coco is not None:
        kinds.append(("detection", "box_classes", reader.coco.classes))
    first, *others = kinds
    return {
        "task": first[0],
        "classes": first[2],
        **{key: classes for _, key, classes in others},
        **({"multilabel": reader.label is None} if reader.classes else {}),
    }
