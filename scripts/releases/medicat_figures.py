"""The annotations of MedICaT: one JSON object a line, one line a figure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bundle.data.errors import DataError

__all__ = ["read_figures"]

_FIELDS = ("pdf_hash", "fig_uri", "s2_caption", "s2orc_references", "radiology")


def read_figures(path: Path) -> Iterator[dict[str, Any]]:
    """Read figures one after the other; the file is never whole in memory.

    Args:
        path: the JSONL file.

    Yields:
        Each line's object; it has `pdf_hash`, `fig_uri`, `s2_caption`, `s2orc_references` and `radiology`.

    Raises:
        DataError: the file can't be read, a line is no JSON object (the last one, where the file was cut off), or a
            field is missing.
    """
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield _figure(line, f"{path}: line {number}")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: it can't be read ({error})") from error


def _figure(line: str, where: str) -> dict[str, Any]:
    try:
        figure = json.loads(line)
    except ValueError as error:
        raise DataError(f"{where} isn't JSON ({error}); the file was cut off or damaged, unpack it again") from error
    if not isinstance(figure, dict):
        raise DataError(f"{where} isn't a JSON object")
    for name in _FIELDS:
        if name not in figure:
            raise DataError(f"{where}: there is no field '{name}'; the fields are {', '.join(figure)}")
    return figure
