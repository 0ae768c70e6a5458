"""Tables that come as JSON: a list of objects with the same keys."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bundle.data.errors import DataError

__all__ = ["read_records"]


def read_records(path: str | Path, keys: Sequence[str]) -> list[dict[str, Any]]:
    """Read a JSON file that holds a list of objects.

    Args:
        path: the file, UTF-8 text.
        keys: what every object must have; it may have more.

    Returns:
        The objects as they are.

    Raises:
        DataError: the file can't be read, isn't complete JSON, holds anything else, or an object lacks a key.

    Example:
        >>> read_records("testset.json", ["question", "answer"])[0]["answer"]  # doctest: +SKIP
        'yes'
    """
    path = Path(path)
    try:
        records = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise DataError(f"{path}: can't be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: isn't UTF-8 text") from error
    except ValueError as error:
        raise DataError(f"{path}: not valid JSON ({error}); if it was cut off, download it again") from error
    if not isinstance(records, list) or not records:
        raise DataError(f"{path}: must be a JSON list with at least one object")
    for number, record in enumerate(records):
        _check_keys(record, keys, f"{path}: entry {number}")
    return records


def _check_keys(record: Any, keys: Sequence[str], where: str) -> None:
    if not isinstance(record, dict):
        raise DataError(f"{where} is no object with keys but {json.dumps(record)[:40]}")
    for key in keys:
        if key not in record:
            raise DataError(f"{where} has no key '{key}'; its keys are {', '.join(record)}")
