"""Published splits from list files: one row an image, which may name it in any column."""

from __future__ import annotations

import argparse
import re
from collections.abc import Collection, Iterable
from pathlib import Path

from bundle.data.errors import DataError
from scripts.preparing.assigned import Assigned
from scripts.preparing.record import Record

__all__ = ["add_lists", "assign_listed", "check_lists"]

_FILES = {
    "training": ("train", "training"),
    "validation": ("val", "valid", "validation"),
    "test": ("test",),
}
_STEM_ENDINGS = ("", "_list")
_FILE_ENDINGS = (".csv", ".tsv", ".txt")
_SEPARATORS = re.compile(r"[,;|\t ]+")
_IMAGE_ENDINGS = re.compile(r"\.(dcm|dicom|png|jpe?g)$", re.IGNORECASE)


def add_lists(parser: argparse.ArgumentParser) -> None:
    """Add `--lists`, the folder of a published split's files."""
    parser.add_argument(
        "--lists",
        type=Path,
        metavar="DIR",
        help="for --split lists: folder with train.*, val.* and test.* (.csv, .tsv or .txt, also train_list.txt and so "
        "on), a row an image, named by its id or its file in any column",
    )


def check_lists(args: argparse.Namespace) -> None:
    """Refuse `--lists` without `--split lists`, and the reverse.

    Raises:
        DataError: one of them is missing.
    """
    if (args.split == "lists") != (args.lists is not None):
        raise DataError("--split lists and --lists DIR go together: the folder holds the split's files")


def assign_listed(items: Iterable[dict[str, object]], folder: Path, record: Record) -> list[Assigned]:
    """Give each item the splits whose lists name it; an image in several lists becomes an item in each.

    Args:
        items: items whose `id` is what the lists name.
        folder: the folder with the lists.
        record: takes rows that name none of the items, and counts the items that no list names.

    Returns:
        The items in their order. The ids of one that is in several splits have the split behind them.

    Raises:
        DataError: there are no such lists, or a row names no item and the record stops at the first.
    """
    items = list(items)
    known = {str(item["id"]) for item in items}
    named = {split: _read(path, known, record) for split, path in _find(folder).items()}
    assigned: list[Assigned] = []
    for item in items:
        splits = [split for split, names in named.items() if item["id"] in names]
        several = len(splits) > 1
        assigned += [(split, {**item, "id": f"{item['id']}-{split}"} if several else item) for split in splits]
    record.drop("in none of the lists", len(known - set().union(*named.values())))
    return assigned


def _find(folder: Path) -> dict[str, Path]:
    found = {}
    for split, stems in _FILES.items():
        names = [f"{stem}{more}{end}" for stem in stems for more in _STEM_ENDINGS for end in _FILE_ENDINGS]
        path = next((folder / name for name in names if (folder / name).is_file()), None)
        if path is not None:
            found[split] = path
    if "training" not in found and "test" not in found:
        raise DataError(f"{folder}: there is no list train.csv, train.txt, train_list.txt, test.csv or the like")
    return found


def _read(path: Path, known: Collection[str], record: Record) -> set[str]:
    """The images that a list names; its first row may be names of columns."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: the list can't be read ({error})") from error
    names = set()
    for number, line in enumerate(lines, start=1):
        found = next((name for name in map(_stem, _SEPARATORS.split(line)) if name in known), None)
        if found is not None:
            names.add(found)
        elif line.strip() and number > 1:
            record.reject(f"{path} row {number}", "it names no image of this data set")
    return names


def _stem(cell: str) -> str:
    return _IMAGE_ENDINGS.sub("", cell.strip("\"' ").replace("\\", "/").rpartition("/")[2])
