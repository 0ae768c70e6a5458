"""Boxes and outlines of radiographs from one COCO file, without any table.

    python -m scripts.prepare coco --coco instances.json --root images --out lists/findings
    python -m scripts.prepare coco --coco lungs.json --root images --categories "Right Lung,Left Lung" --out lists/lungs

Under --root lie the images, by the `file_name` that the file gives them. Where all boxes of an image have a
`segmentation` (polygons or run lengths), its masks are written into DIR/masks: `mask` for a single class, else
`finding_masks` with a mask a class, which training reads with `--mask_key finding_masks`.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from bundle.data.errors import DataError
from scripts.preparing.coco import BoxedImage, CocoBoxes
from scripts.preparing.coco_masks import write_outline_masks
from scripts.preparing.official import add_root
from scripts.preparing.opened import opened
from scripts.preparing.options import add_shares, add_trust_patients, names
from scripts.preparing.patients import add_patient_pattern, patient_of
from scripts.preparing.table_rows import (
    TableRow,
    check_new,
    describe_shares,
    relative_path,
    split_by_share,
    with_subsets,
)
from scripts.preparing.threads import in_threads

__all__ = ["HELP", "add_arguments", "build"]

HELP = "boxes and outlines of radiographs from one COCO file"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this data set's options."""
    add_root(parser, "the images that the COCO file names")
    parser.add_argument("--coco", type=Path, required=True, metavar="JSON", help="the COCO file")
    parser.add_argument("--name", help="name of the list (default: the file's)")
    parser.add_argument("--categories", type=names, metavar="A,B", help="categories to take (default: all)")
    parser.add_argument(
        "--boxless",
        choices=("unknown", "negative"),
        default="unknown",
        help="what an image without such a box is: not annotated, or known to show none (default: unknown)",
    )
    add_patient_pattern(parser)
    add_shares(parser, validation=0.15, test=0.25)
    add_trust_patients(parser)


def build(args: argparse.Namespace) -> dict[str, Any]:
    """Make the data list, and write the masks.

    Args:
        args: the options of `add_arguments` and the common ones of `scripts.prepare`.

    Returns:
        The data list; `image_root` is absolute, and holds both images and masks where there are masks.

    Raises:
        DataError: the COCO file or (without `--on-error skip`) an image of it can't be used.
    """
    images = Path(os.path.abspath(args.root))
    if not images.is_dir() and not args.without_images:
        raise DataError(f"{images}: there is no such folder; --root holds the images that {args.coco} names")
    coco = CocoBoxes(args.coco, args.categories)
    boxed = {_where(image, args): image for image in coco.images}
    rows, sizes, joined = opened(list(islice(_rows(boxed, images, args), args.limit)), images, args)
    rows = [row for row, size in zip(rows, sizes, strict=True) if _agrees(row, size, args)]
    rows, root = _with_masks(rows, boxed, coco.classes, images, args)
    unit = "patient" if all("patient" in row.item for row in rows) else "image"
    shares = describe_shares(unit, args.validation, args.test, args.seed)
    return {
        "name": args.name or args.coco.stem,
        "task": "detection",
        "modality": {"0": "CR"},
        "source": args.coco.name,
        "classes": coco.classes,
        "image_root": root.as_posix(),
        "split": {**shares, **({"joined": joined} if joined else {})},
        **with_subsets(split_by_share(rows, args.validation, args.test, args.seed), args.seed),
    }


def _where(image: BoxedImage, args: argparse.Namespace) -> str:
    return f"{args.coco} image {image.name}"


def _rows(boxed: dict[str, BoxedImage], root: Path, args: argparse.Namespace) -> Iterator[TableRow]:
    """The annotated images; what their files hold is not asked."""
    seen: dict[str, str] = {}
    for where, image in boxed.items():
        if not image.boxes and args.boxless == "unknown":
            args.record.drop("not annotated")
            continue
        try:
            item = _item(image, root, args)
            row = TableRow(where, item, group=item.get("patient", item["id"]))
            check_new(row, seen)
        except DataError as error:
            args.record.reject(where, str(error))
            continue
        yield row


def _item(image: BoxedImage, root: Path, args: argparse.Namespace) -> dict[str, Any]:
    path = relative_path(image.name, root, "image", "--root")
    patient = patient_of(path, args.patient_pattern) if args.patient_pattern else image.patient
    return {
        "id": path,
        "image": path,
        **({"patient": patient} if patient else {}),
        "boxes": image.boxes,
        "box_label": image.labels,
        "size": image.size,
    }


def _agrees(row: TableRow, size: tuple[int, int] | None, args: argparse.Namespace) -> bool:
    drawn_on = tuple(row.item["size"])
    if size is not None and size != drawn_on:
        shown = f"{drawn_on[0]} x {drawn_on[1]} pixels, but the image {size[0]} x {size[1]} (rows x columns)"
        args.record.reject(row.where, f"its boxes were drawn on {shown}")
        return False
    return True


def _with_masks(
    rows: list[TableRow], boxed: dict[str, BoxedImage], classes: list[str], images: Path, args: argparse.Namespace
) -> tuple[list[TableRow], Path]:
    """Write the masks of the images that are outlined; the rows that can be used, and the root of all their files."""
    outlined = [row for row in rows if any(boxed[row.where].outlines)]
    whole = [row for row in outlined if all(boxed[row.where].outlines)]
    args.record.drop("masks of images where a box has no outline", len(outlined) - len(whole))
    if not whole:
        return rows, images
    folder = Path(os.path.abspath(args.out)) / "masks"
    write = partial(_write_masks, boxed=boxed, classes=classes, folder=folder)
    written = in_threads(write, whole, args.workers, "drawing masks", "image")
    root = Path(os.path.commonpath([images, folder]))
    unusable = set()
    for row, paths in zip(whole, written, strict=True):
        if isinstance(paths, DataError):
            args.record.reject(row.where, str(paths))
            unusable.add(row.where)
        else:
            masks = {name: _from(root, folder / path) for name, path in paths.items()}
            row.item.update({"mask": masks[classes[0]]} if len(classes) == 1 else {"finding_masks": masks})
    for row in rows:
        row.item["image"] = _from(root, images / row.item["image"])
    return [row for row in rows if row.where not in unusable], root


def _write_masks(
    row: TableRow, boxed: dict[str, BoxedImage], classes: list[str], folder: Path
) -> dict[str, str] | DataError:
    try:
        return write_outline_masks(boxed[row.where], row.item["image"], classes, folder)
    except DataError as error:
        return error


def _from(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix()
