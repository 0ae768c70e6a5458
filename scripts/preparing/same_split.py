"""The split of another list for the same patients, so that what was learned from is never tested on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bundle.data.datalist import read_datalist
from bundle.data.datalist_form import SPLITS
from scripts.preparing.record import Record
from scripts.preparing.table_rows import TableRow

__all__ = ["split_as"]


def split_as(rows: Sequence[TableRow], path: Path, record: Record) -> dict[str, list[dict[str, Any]]]:
    """The items by split, each where another list has its patient (or, where patients are unknown, its image).

    Args:
        rows: the rows, with `patient` where it is known.
        path: the other list.
        record: takes the rows whose patient that list doesn't have.

    Raises:
        DataError: the list can't be used, or lacks a patient and `record` stops at the first.
    """
    split_of = _split_of(read_datalist(path))
    splits: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        name = ("patient", row.item["patient"]) if "patient" in row.item else ("image", row.item["image"])
        if name in split_of:
            splits.setdefault(split_of[name], []).append(row.item)
        else:
            record.reject(row.where, f"its {name[0]} isn't in {path}")
    return splits


def _split_of(datalist: Mapping[str, Any]) -> dict[tuple[str, str], str]:
    """Split by (`patient`, name) and (`image`, path); of patients that are one person all have it, listed or not."""
    items = [(split, item) for split in SPLITS for item in datalist.get(split, ())]
    split_of = {(kind, item[kind]): split for split, item in items for kind in ("patient", "image") if kind in item}
    for group in datalist.get("split", {}).get("joined", []):
        known = [split_of["patient", patient] for patient in group if ("patient", patient) in split_of]
        split_of |= {("patient", patient): known[0] for patient in group if known}
    return split_of
