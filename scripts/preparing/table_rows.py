"""Rows of a table that describe images: paths, the files behind them, one person's images, splits."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bundle.data.errors import DataError
from bundle.data.splits import mark_subsets
from scripts.preparing.group_splits import split_by_key
from scripts.preparing.record import Record
from scripts.preparing.same_person import Thumbnail, join_groups, same_images, thumbnails

__all__ = [
    "TableRow",
    "check_new",
    "decoded",
    "describe_shares",
    "join_persons",
    "relative_path",
    "split_by_share",
    "with_existing_image",
    "with_subsets",
]


@dataclass
class TableRow:
    """A usable row of the table.

    Attributes:
        where: file, row and image, for messages.
        item: the item of the data list.
        group: what must not be in two splits: the patient, else the study, else the item itself.
        split: the split that the table names, if it does.
    """

    where: str
    item: dict[str, Any]
    group: str
    split: str | None = None


def relative_path(path: str | None, root: Path, what: str, option: str) -> str:
    """A path of the table relative to the folder of all such files, with forward slashes.

    Args:
        path: the cell.
        root: the folder.
        what: what the path leads to, for messages.
        option: the option that names the folder, for messages.

    Raises:
        DataError: there is no path, or it leads out of the folder.
    """
    if path is None:
        raise DataError(f"its {what} is empty")
    path = path.replace("\\", "/")
    if os.path.isabs(path):
        path = os.path.relpath(path, root)
    path = os.path.normpath(path).replace(os.sep, "/")
    if path.startswith(".."):
        raise DataError(f"its {what} lies outside {root}; name the folder that holds all {what}s with {option}")
    return path


def check_new(row: TableRow, seen: dict[str, str]) -> None:
    """Refuse a row whose id or image an earlier row has.

    Args:
        row: the row.
        seen: where each id and image occurred; the row's are added.

    Raises:
        DataError: one of them occurred before.
    """
    for key in ("id", "image"):
        before = seen.setdefault(f"{key} {row.item[key]}", row.where)
        if before != row.where:
            raise DataError(f"its {key} '{row.item[key]}' is also that of {before}")


def with_existing_image(rows: Sequence[TableRow], root: Path, workers: int, record: Record) -> list[TableRow]:
    """Leave out rows whose image file isn't there.

    Args:
        rows: the rows; the items' `image` is relative to `root`.
        root: the folder.
        workers: threads that look.
        record: takes the rows that are left out.

    Raises:
        DataError: a file is missing and `record` stops at the first.
    """
    with ThreadPoolExecutor(workers) as pool:
        exists = list(pool.map(os.path.isfile, (root / row.item["image"] for row in rows)))
    for row, there in zip(rows, exists, strict=True):
        if not there:
            record.reject(row.where, f"there is no image file {root / row.item['image']}")
    return [row for row, there in zip(rows, exists, strict=True) if there]


def decoded(
    rows: Sequence[TableRow], root: Path, workers: int, record: Record
) -> tuple[list[TableRow], list[Thumbnail]]:
    """Decode all images and leave out rows whose image can't be used.

    Args:
        rows: the rows; the items' `image` is relative to `root`.
        root: the folder.
        workers: threads that decode.
        record: takes the rows that are left out.

    Returns:
        The other rows, and the thumbnail of each.

    Raises:
        DataError: an image can't be used and `record` stops at the first.
    """
    found = thumbnails([root / row.item["image"] for row in rows], workers)
    kept, small = [], []
    for row, thumbnail in zip(rows, found, strict=True):
        if isinstance(thumbnail, DataError):
            record.reject(row.where, str(thumbnail))
        else:
            kept.append(row)
            small.append(thumbnail)
    return kept, small


def join_persons(rows: Sequence[TableRow], small: Sequence[Thumbnail]) -> list[list[str]]:
    """Give patients that share an image one group, and say so.

    Args:
        rows: the rows; their `group` changes.
        small: the thumbnail of each.

    Returns:
        The groups that are joined, as the header's `split` keeps them.
    """
    groups, joined = join_groups([row.group for row in rows], same_images([one.vector for one in small]))
    for row, group in zip(rows, groups, strict=True):
        row.group = group
    for names in joined:
        print(f"warning: {len(names)} patients share an image; they are taken for one person and kept in one split")
    return joined


def split_by_share(
    rows: Sequence[TableRow], validation: float, test: float, seed: int
) -> dict[str, list[dict[str, Any]]]:
    """The items by split, drawn by the rows' groups; see `split_by_key`."""
    return split_by_key([row.item for row in rows], [row.group for row in rows], validation, test, seed)


def describe_shares(unit: str, validation: float, test: float, seed: int) -> dict[str, Any]:
    """What the header's `split` says about splits drawn by share; `unit` is `patient`, `study` or `image`."""
    ratios = [round(1 - validation - test, 6), validation, test]
    return {"method": "share", "unit": unit, "ratios": ratios, "seed": seed, "leak_checked": unit == "patient"}


def with_subsets(splits: dict[str, list[dict[str, Any]]], seed: int) -> dict[str, Any]:
    """The splits with nested subsets of the training items, and the header's `subsets`."""
    training, subsets = mark_subsets(splits.get("training", []), seed=seed)
    return {"subsets": subsets, **splits, "training": training}
