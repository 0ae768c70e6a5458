"""Splits that the source gives, by a column or by folders: their names, and no patient in two of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from scripts.preparing.record import Record
from scripts.preparing.table_rows import TableRow

__all__ = ["SPLIT_NAMES", "as_given"]

SPLIT_NAMES = {
    "train": "training",
    "training": "training",
    "val": "validation",
    "valid": "validation",
    "validate": "validation",
    "validation": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
}
"""The split that a name in lower case means."""


def as_given(rows: Sequence[TableRow], record: Record) -> dict[str, list[dict[str, Any]]]:
    """The items by the split that their rows name.

    Args:
        rows: rows with a split.
        record: takes the rows whose group (patient) is in another split already.

    Raises:
        DataError: there is such a row and `record` stops at the first.
    """
    splits: dict[str, list[dict[str, Any]]] = {}
    split_of: dict[str, str] = {}
    for row in rows:
        split = str(row.split)
        before = split_of.setdefault(row.group, split)
        if before != split:
            record.reject(row.where, f"it is in {split}, but an earlier row of its patient {row.group} is in {before}")
            continue
        splits.setdefault(split, []).append(row.item)
    return splits
