"""The rows of a table of image-report pairs as items of a data list."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from bundle.data.errors import DataError
from bundle.transforms.report_sections import extract_sections
from scripts.preparing.table import find_column

__all__ = ["GUESSES", "VIEWS", "PairRow", "choose_columns", "usable_rows"]

GUESSES = {
    "image": ("image", "path"),
    "text": ("report", "text"),
    "findings": ("findings",),
    "impression": ("impression",),
    "patient": ("patient_id", "patient", "subject_id"),
    "view": ("view", "ViewPosition"),
    "study": ("study", "study_id"),
    "id": ("id",),
    "split": ("split",),
}
"""Column names that are recognised without an option, by what the column holds."""

_SPLIT_NAMES = {
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
_VIEW_OF = {"pa": "PA", "posteroanterior": "PA", "ap": "AP", "anteroposterior": "AP"}
_VIEW_OF |= dict.fromkeys(("l", "ll", "lat", "lateral", "left lateral"), "L")
VIEWS = ("PA", "AP", "L")


@dataclass
class PairRow:
    """A usable row of the table."""

    where: str
    item: dict[str, Any]
    group: str
    split: str | None


def _columns(table: pd.DataFrame, args: argparse.Namespace) -> dict[str, str]:
    """The column of each role that the table has; a column without any value counts as absent unless it was named."""
    found = {}
    for role, names in GUESSES.items():
        named = getattr(args, f"{role}_column")
        if named is not None:
            found[role] = find_column(table, args.table, named)
            if not table[named].notna().any():
                raise DataError(f"{args.table}: the column '{named}' is empty")
        else:
            present = [name for name in names if name in table.columns and table[name].notna().any()]
            found.update({role: present[0]} if present else {})
    wanted = {"image": "--image-column"}
    if not found.keys() & {"text", "findings", "impression"}:
        wanted["text"] = "--text-column, or --findings-column and --impression-column"
    for role, option in wanted.items():
        if role not in found:
            raise DataError(
                f"{args.table}: no column with the {role} was recognised; name it with {option}; "
                f"the columns are {', '.join(table.columns)}"
            )
    return found


def _usable_rows(
    table: pd.DataFrame, columns: dict[str, str], root: Path, args: argparse.Namespace
) -> Iterator[PairRow]:
    seen: dict[str, str] = {}
    cells = zip(*(table[name] for name in columns.values()), strict=True)
    for number, values in enumerate(cells, start=2):  # as a spreadsheet counts: row 1 holds the names
        row = dict(zip(columns, values, strict=True))
        where = f"{args.table} row {number} ({row['image']})"
        try:
            usable = _row(where, row, root, args.sections)
            for key in ("id", "image"):
                before = seen.setdefault(f"{key} {usable.item[key]}", where)
                if before != where:
                    raise DataError(f"its {key} '{usable.item[key]}' is also that of {before}")
        except DataError as error:
            args.record.reject(where, str(error))
            continue
        yield usable


def _row(where: str, row: dict[str, str | None], root: Path, sections: bool) -> PairRow:
    image = _relative(row["image"], root)
    item: dict[str, Any] = {"id": row.get("id") or os.path.splitext(image)[0], "image": image}
    if "patient" in row and row["patient"] is None:
        raise DataError("its patient is empty")
    item.update({role: row[role] for role in ("patient", "study") if row.get(role)})
    view = _view(row.get("view"))
    item.update({"view": view} if view else {})
    item.update(_report(row, sections))
    split = _split_name(row["split"]) if "split" in row else None
    return PairRow(where, item, group=item.get("patient") or item.get("study") or item["id"], split=split)


def _relative(image: str | None, root: Path) -> str:
    if image is None:
        raise DataError("its image is empty")
    path = image.replace("\\", "/")
    if os.path.isabs(path):
        path = os.path.relpath(path, root)
    path = os.path.normpath(path).replace(os.sep, "/")
    if path.startswith(".."):
        raise DataError(f"its image lies outside {root}; name the folder that holds all images with --root")
    return path


def _view(text: str | None) -> str | None:
    """`PA`, `AP` or `L`, whatever words such as "supine" or "erect" follow; None where it can't be told."""
    words = (text or "").lower().replace("-", "").split()
    return _VIEW_OF.get(" ".join(words)) or _VIEW_OF.get(words[0] if words else "")


def _report(row: dict[str, str | None], sections: bool) -> dict[str, str]:
    text = row.get("text")
    if text is None:
        found = {role: row[role] for role in ("findings", "impression") if row.get(role)}
    elif sections:
        found = {key: part for key, part in extract_sections(text).items() if key in ("findings", "impression")}
        if not found:
            raise DataError("its report has no text under a header for findings or impression")
    else:
        found = {"text": text}
    if not found:
        raise DataError("its report is empty")
    return {key: " ".join(str(part).split()) for key, part in found.items()}


def _split_name(text: str | None) -> str:
    split = _SPLIT_NAMES.get((text or "").lower())
    if split is None:
        raise DataError(f"its split '{text or ''}' is none of {', '.join(_SPLIT_NAMES)}")
    return split
