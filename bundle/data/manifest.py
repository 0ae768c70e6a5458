"""The manifest of a stored folder: what it was made from, with which parameters, and what its files must contain.

A folder with a manifest is complete: the manifest is written last and atomically, so that a reader that finds one may
trust the files beside it once their sizes (fast) or contents (slow) agree with it.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from bundle.data.errors import DataError

__all__ = [
    "MANIFEST_NAME",
    "check_contents",
    "check_manifest",
    "check_sizes",
    "file_records",
    "ids_sha256",
    "read_manifest",
    "sha256_file",
    "write_json",
    "write_manifest",
]

MANIFEST_NAME = "manifest.json"

_ABSENT = object()


def write_json(path: str | Path, content: Any) -> None:
    """Writes `content` as JSON under a temporary name, syncs it to disk and renames it: whole or not at all."""
    path = Path(path)
    temporary = path.with_name(path.name + ".tmp")
    try:
        with open(temporary, "w", encoding="utf-8") as file:
            json.dump(content, file, indent=1, sort_keys=True, ensure_ascii=False)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_manifest(folder: str | Path, content: Mapping[str, Any]) -> None:
    """Writes `folder/manifest.json` atomically; call it after every other file of the folder is complete.

    Args:
        folder: existing folder.
        content: JSON-able; must hold `kind` (what sort of store this is) and `schema_version`.

    Raises:
        DataError: `kind` or `schema_version` is missing.
    """
    missing = {"kind", "schema_version"} - content.keys()
    if missing:
        raise DataError(f"{folder}: a manifest needs the fields {', '.join(sorted(missing))}")
    write_json(Path(folder) / MANIFEST_NAME, content)


def read_manifest(folder: str | Path, kind: str) -> dict[str, Any]:
    """Reads the manifest of `folder` and checks that it is one of this `kind`.

    Returns:
        The manifest as written.

    Raises:
        DataError: there is no manifest, it isn't JSON, or it belongs to another kind of store.
    """
    path = Path(folder) / MANIFEST_NAME
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{path} does not exist: {folder} is not a finished {kind}") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is not readable as JSON ({error}): make the {kind} again") from error
    found = content.get("kind") if isinstance(content, dict) else None
    if found != kind:
        raise DataError(f"{path}: kind is {found!r}, expected {kind!r}")
    return content


def check_manifest(actual: Mapping[str, Any], expected: Mapping[str, Any], source: str | Path = "") -> None:
    """Compares the fields named in `expected` with a manifest; fields that `expected` doesn't name are not looked at.

    Args:
        actual: manifest as read.
        expected: the fields that matter, nested like the manifest.
        source: file or folder named in the message.

    Raises:
        DataError: lists every difference as "field: store has X, expected Y".

    Example:
        >>> check_manifest({"size": 256}, {"size": 512}, "stores/a")
        Traceback (most recent call last):
        bundle.data.errors.DataError: stores/a: size: store has 256, expected 512
    """
    differences = list(_differences(actual, expected, ""))
    if differences:
        raise DataError(f"{source or 'manifest'}: {'; '.join(differences)}")


def _differences(actual: Any, expected: Mapping[str, Any], prefix: str) -> Iterator[str]:
    for key, wanted in expected.items():
        found = actual.get(key, _ABSENT) if isinstance(actual, Mapping) else _ABSENT
        if isinstance(wanted, Mapping) and isinstance(found, Mapping):
            yield from _differences(found, wanted, f"{prefix}{key}.")
        elif found is _ABSENT or found != wanted:
            shown = "nothing" if found is _ABSENT else json.dumps(found, ensure_ascii=False)
            yield f"{prefix}{key}: store has {shown}, expected {json.dumps(wanted, ensure_ascii=False)}"


def sha256_file(path: str | Path) -> str:
    """SHA-256 of a file's bytes, as hexadecimal text."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def ids_sha256(ids: Iterable[str]) -> str:
    """SHA-256 of ids in the given order, one per line: changes with any id and with their order."""
    return hashlib.sha256("\n".join(ids).encode()).hexdigest()


def file_records(folder: str | Path, names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Size and content hash of files, to be kept in a manifest.

    Args:
        folder: folder of the manifest.
        names: paths of the files relative to `folder`, with forward slashes.

    Returns:
        `{name: {"bytes": int, "sha256": str}}`.
    """
    root = Path(folder)
    return {name: {"bytes": (root / name).stat().st_size, "sha256": sha256_file(root / name)} for name in names}


def check_sizes(folder: str | Path, records: Mapping[str, Mapping[str, Any]]) -> None:
    """Checks that every recorded file is there with its recorded size (one file-system look-up per file).

    Raises:
        DataError: lists every missing, shortened or grown file.
    """
    wrong = []
    for name, record in records.items():
        path = Path(folder) / name
        if not path.is_file():
            wrong.append(f"{name} is missing")
        elif path.stat().st_size != record["bytes"]:
            wrong.append(f"{name} has {path.stat().st_size} bytes, expected {record['bytes']}")
    if wrong:
        raise DataError(f"{folder} is damaged: {'; '.join(wrong)}; copy or make it again")


def check_contents(folder: str | Path, records: Mapping[str, Mapping[str, Any]]) -> None:
    """Reads every recorded file and compares its SHA-256.

    Raises:
        DataError: lists every file that is missing, has another size or another content.
    """
    check_sizes(folder, records)
    wrong = [name for name, record in records.items() if sha256_file(Path(folder) / name) != record["sha256"]]
    if wrong:
        raise DataError(f"{folder} is damaged: the content of {', '.join(wrong)} has changed; copy or make it again")
