"""The rows of a table of image-report pairs as items of a data list."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from bundle.data.errors import DataError
from bundle.transforms.report_sections import extract_sections
from scripts.preparing.given_split import SPLIT_NAMES
from scripts.preparing.record import Record
from scripts.preparing.table import find_column
from scripts.preparing.table_rows import TableRow, check_new, relative_path

__all__ = ["GUESSES", "VIEWS", "choose_columns", "usable_rows"]

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

VIEWS = ("PA", "AP", "L")

_VIEW_OF = {"pa": "PA", "posteroanterior": "PA", "ap": "AP", "anteroposterior": "AP"}
_VIEW_OF |= dict.fromkeys(("l", "ll", "lat", "lateral", "left lateral"), "L")


def choose_columns(table: pd.DataFrame, source: Path, named: Mapping[str, str | None]) -> dict[str, str]:
    """Find the column of each role of `GUESSES`.

    Args:
        table: the table.
        source: its file, for messages.
        named: the column that the user named, or None, by role.

    Returns:
        Column by role, for the roles that the table has. A recognised column without any value counts as absent.

    Raises:
        DataError: a named column is missing or empty, or nothing was found for the image or for the report.
    """
    found = {}
    for role, names in GUESSES.items():
        name = named[role]
        if name is None:
            present = [guess for guess in names if guess in table.columns and table[guess].notna().any()]
            found.update({role: present[0]} if present else {})
        elif table[find_column(table, source, name)].isna().all():
            raise DataError(f"{source}: the column '{name}' is empty")
        else:
            found[role] = name
    if "image" not in found:
        raise _not_recognised("image", "--image-column", table, source)
    if not found.keys() & {"text", "findings", "impression"}:
        raise _not_recognised("text", "--text-column, --findings-column or --impression-column", table, source)
    return found


def _not_recognised(role: str, option: str, table: pd.DataFrame, source: Path) -> DataError:
    columns = ", ".join(table.columns)
    return DataError(
        f"{source}: no column with the {role} was recognised; name it with {option}; the columns are {columns}"
    )


def usable_rows(
    table: pd.DataFrame, columns: Mapping[str, str], source: Path, root: Path, sections: bool, record: Record
) -> Iterator[TableRow]:
    """Turn rows into items.

    Args:
        table: the table.
        columns: column by role.
        source: the table's file, for messages.
        root: folder that image paths are relative to.
        sections: whether the report's text is searched for findings and impression.
        record: takes the rows that can't be used: no image, patient or report, an id or image that occurred before.

    Yields:
        The usable rows. Whether their images exist is not asked.

    Raises:
        DataError: a row can't be used and `record` stops at the first.
    """
    seen: dict[str, str] = {}
    cells = zip(*(table[name] for name in columns.values()), strict=True)
    for number, values in enumerate(cells, start=2):  # as a spreadsheet counts: row 1 holds the names
        row = dict(zip(columns, values, strict=True))
        where = f"{source} row {number} ({row['image'] or 'no image'})"
        try:
            usable = _row(where, row, root, sections)
            check_new(usable, seen)
        except DataError as error:
            record.reject(where, str(error))
            continue
        yield usable


def _row(where: str, row: dict[str, str | None], root: Path, sections: bool) -> TableRow:
    image = relative_path(row["image"], root, "image", "--root")
    item: dict[str, Any] = {"id": row.get("id") or os.path.splitext(image)[0], "image": image}
    if "patient" in row and row["patient"] is None:
        raise DataError("its patient is empty")
    item.update({role: row[role] for role in ("patient", "study") if row.get(role)})
    view = _view(row.get("view"))
    item.update({"view": view} if view else {})
    item.update(_report(row, sections))
    split = _split_name(row["split"]) if "split" in row else None
    return TableRow(where, item, group=item.get("patient") or item.get("study") or item["id"], split=split)


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
    split = SPLIT_NAMES.get((text or "").lower())
    if split is None:
        raise DataError(f"its split '{text or ''}' is none of {', '.join(SPLIT_NAMES)}")
    return split
