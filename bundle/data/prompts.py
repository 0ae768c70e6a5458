"""Prompt sets for zero-shot classification, from versioned JSON files."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bundle.data.errors import DataError

__all__ = ["Prompts", "load_prompts", "prompts_identity"]

Prompts = dict[str, dict[str, list[str]]]
"""By class the texts that affirm it, `pos`, and those that deny it, `neg` (maybe none)."""


def load_prompts(path: str | os.PathLike[str], classes: Sequence[str]) -> Prompts:
    """Reads the prompts of some classes from a file such as `configs/prompts/findings.json`.

    The file holds `{"name", "version", "source", "classes": {NAME: {"pos": [...], "neg": [...]}}}`. Names of classes
    are compared without regard to case, and `_` stands for a space. `{}` in a text becomes the name of the class as it
    was asked for, in lower case.

    Args:
        path: the file.
        classes: names of the classes, in the order of a list's labels.

    Returns:
        The prompts in the order of `classes`, under the names that were asked for.

    Raises:
        DataError: the file can't be read or has another form, a class is missing or stands there twice, or a text is
            empty.

    Example:
        >>> load_prompts("configs/prompts/chexzero.json", ["Pneumonia"])
        {'Pneumonia': {'pos': ['pneumonia'], 'neg': ['no pneumonia']}}
    """
    known = _by_name(_read(path)["classes"], path)
    if missing := [name for name in classes if _plain(name) not in known]:
        raise DataError(
            f"{path}: there are no prompts for the class '{missing[0]}'"
            f"{_and_others(missing)}, only for {', '.join(known)}; add them or give another file"
        )
    return {name: {side: _filled(texts, name) for side, texts in known[_plain(name)].items()} for name in classes}


def prompts_identity(path: str | os.PathLike[str]) -> str:
    """Name and version of a prompt file, which results are labelled with.

    Raises:
        DataError: the file can't be read or states neither.

    Example:
        >>> prompts_identity("configs/prompts/chexzero.json")
        'chexzero, version 1'
    """
    content = _read(path)
    return f"{content['name']}, version {content['version']}"


def _read(path: str | os.PathLike[str]) -> Mapping[str, Any]:
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path}: the prompt file can't be read ({error.strerror})") from error
    except ValueError as error:
        raise DataError(f"{path}: the prompt file is no JSON ({error})") from error
    for field in ("name", "version", "source", "classes"):
        if not isinstance(content, Mapping) or not content.get(field):
            raise DataError(f"{path}: a prompt file needs a name, version, source and classes; '{field}' is absent")
    return content


def _by_name(classes: Any, path: str | os.PathLike[str]) -> dict[str, dict[str, list[str]]]:
    """The file's classes under their plain names, checked."""
    if not isinstance(classes, Mapping):
        raise DataError(f"{path}: 'classes' must be an object from the name of a class to its prompts")
    known: dict[str, dict[str, list[str]]] = {}
    for name, sides in classes.items():
        if _plain(name) in known:
            raise DataError(f"{path}: the class '{name}' stands there twice")
        known[_plain(name)] = {"neg": [], **_checked(sides, name, path)}
    return known


def _checked(sides: Any, name: str, path: str | os.PathLike[str]) -> dict[str, list[str]]:
    if not isinstance(sides, Mapping) or not sides.get("pos") or set(sides) - {"pos", "neg"}:
        raise DataError(f"{path}: the prompts of '{name}' must be an object with a list 'pos' and maybe a list 'neg'")
    for side, texts in sides.items():
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise DataError(f"{path}: the prompts '{side}' of '{name}' must be a list of texts")
        if empty := [number for number, text in enumerate(texts) if not text.strip()]:
            raise DataError(f"{path}: text {empty[0]} of the prompts '{side}' of '{name}' is empty")
    return {side: list(texts) for side, texts in sides.items()}


def _filled(texts: Sequence[str], name: str) -> list[str]:
    return [text.replace("{}", _plain(name)) for text in texts]


def _plain(name: str) -> str:
    return " ".join(name.replace("_", " ").split()).lower()


def _and_others(missing: Sequence[str]) -> str:
    return f" (and {len(missing) - 1} others)" if len(missing) > 1 else ""
