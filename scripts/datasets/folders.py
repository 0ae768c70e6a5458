r"""Classes of radiographs from folders: one folder a class, its name the class.

    python -m scripts.prepare folders --root chest --out lists/chest
    python -m scripts.prepare folders --root chest --patient-pattern 'person(\d+)_' --split ours --out lists/chest

Under --root lie `CLASS/*.png` (jpg, jpeg, dcm, nii; in any case and to any depth), or the same below `train`, `val` and
`test`. Folders of splits are taken as they are; without `val`, validation is drawn from the training images.
"""

from __future__ import annotations

import argparse
import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bundle.data.errors import DataError
from bundle.data.splits import split_by_group
from scripts.preparing.class_folders import FolderImage, find_folder_images
from scripts.preparing.given_split import as_given
from scripts.preparing.official import add_root
from scripts.preparing.opened import opened
from scripts.preparing.options import add_shares, add_trust_patients, names
from scripts.preparing.patients import add_patient_pattern, patient_of
from scripts.preparing.table_rows import TableRow, describe_shares, split_by_share, with_subsets

__all__ = ["HELP", "add_arguments", "build"]

HELP = "classes of radiographs from one folder a class"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this data set's options."""
    add_root(parser, "one folder a class, or train, val and test with these")
    parser.add_argument("--name", help="name of the list (default: the folder's)")
    parser.add_argument("--classes", type=names, metavar="A,B", help="folders to take, in this order (default: all)")
    parser.add_argument(
        "--split",
        choices=("folders", "ours"),
        help="the splits of the folders, or ours, drawn by patient (default: the folders', where there are any)",
    )
    add_patient_pattern(parser)
    add_shares(parser, validation=0.15, test=0.25)
    add_trust_patients(parser)


def build(args: argparse.Namespace) -> dict[str, Any]:
    """Make the data list.

    Args:
        args: the options of `add_arguments` and the common ones of `scripts.prepare`.

    Returns:
        The data list; `image_root` is absolute.

    Raises:
        DataError: the folders or (without `--on-error skip`) an image can't be used.
    """
    root = Path(os.path.abspath(args.root))
    images = find_folder_images(root, args.record)
    classes = _classes(images, args)
    images = _first([image for image in images if image.label in classes], args.limit)
    given = images[0].split is not None
    if args.split == "folders" and not given:
        raise DataError(f"{root}: it has no folders train, val or test, so --split must be ours")
    rows, _, joined = opened(list(_rows(images, classes, args)), root, args)
    splits, split = _given(rows, args) if given and args.split != "ours" else _drawn(rows, args)
    return {
        "name": args.name or root.name,
        "task": "classification",
        "modality": {"0": "CR"},
        "source": root.name,
        "classes": classes,
        "multilabel": False,
        "image_root": root.as_posix(),
        "split": {**split, **({"joined": joined} if joined else {})},
        **with_subsets(splits, args.seed),
    }


def _classes(images: Sequence[FolderImage], args: argparse.Namespace) -> list[str]:
    found = sorted({image.label for image in images})
    for name in args.classes or ():
        if name not in found:
            raise DataError(f"{args.root}: there is no folder '{name}' with images; there are {', '.join(found)}")
    classes = args.classes or found
    if len(classes) < 2:
        raise DataError(f"{args.root}: images of two classes or more are needed; found is only {', '.join(classes)}")
    others = sum(image.label not in classes for image in images)
    args.record.drop("class not asked for", others)
    return list(classes)


def _first(images: list[FolderImage], limit: int | None) -> list[FolderImage]:
    """The first images, as many of each folder as of the others: the first by path would all be of one class."""
    if limit is None:
        return images
    position: defaultdict[tuple[str | None, str], int] = defaultdict(int)
    ranked = []
    for image in images:
        ranked.append((position[image.split, image.label], image))
        position[image.split, image.label] += 1
    return sorted(image for _, image in sorted(ranked)[:limit])


def _rows(images: Sequence[FolderImage], classes: Sequence[str], args: argparse.Namespace) -> Iterator[TableRow]:
    for image in images:
        where = f"{args.root}/{image.path}"
        item: dict[str, Any] = {"id": image.path, "image": image.path, "label": classes.index(image.label)}
        if args.patient_pattern:
            try:
                item["patient"] = patient_of(image.path, args.patient_pattern)
            except DataError as error:
                args.record.reject(where, str(error))
                continue
        yield TableRow(where, item, group=item.get("patient", image.path), split=image.split)


def _given(rows: list[TableRow], args: argparse.Namespace) -> tuple[dict[str, list[dict[str, Any]]], dict[str, Any]]:
    """The folders' splits, and what the header says of them."""
    splits = as_given(rows, args.record)
    unit = _unit(rows)
    about: dict[str, Any] = {"method": "folders", "unit": unit, "leak_checked": unit == "patient"}
    if "validation" in splits or not args.validation or "training" not in splits:
        return splits, about
    group_of = {row.item["id"]: row.group for row in rows}
    groups = [group_of[item["id"]] for item in splits["training"]]
    parts = split_by_group(groups, args.validation, 0, args.seed)
    drawn: dict[str, list[dict[str, Any]]] = {"training": [], "validation": []}
    for item, part in zip(splits["training"], parts, strict=True):
        drawn[part].append(item)
    return {**splits, **drawn}, {**about, "validation_of_training": args.validation, "seed": args.seed}


def _drawn(rows: list[TableRow], args: argparse.Namespace) -> tuple[dict[str, list[dict[str, Any]]], dict[str, Any]]:
    about = describe_shares(_unit(rows), args.validation, args.test, args.seed)
    return split_by_share(rows, args.validation, args.test, args.seed), about


def _unit(rows: Sequence[TableRow]) -> str:
    return "patient" if all("patient" in row.item for row in rows) else "image"
