"""The form of a data list: which keys it has and what kind of value each holds."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from bundle.data.errors import DataError

__all__ = ["SPLITS", "check_form", "each_item", "fail"]

SPLITS = {"training": "numTraining", "validation": "numValidation", "test": "numTest"}
"""Every split's key, with the header key of its count."""

_VIEWS = ("PA", "AP", "L")
_TASKS = ("classification", "segmentation", "detection", "grounding", "retrieval", "vqa", "pretrain")
_HEADER_OBJECTS = ("split", "subsets", "prompts", "sha256")
_MAY_HOLD_TEXT = (str, dict, list)
_ITEM_TEXTS = (
    *("id", "image", "mask", "patient", "study", "view", "findings", "impression", "caption"),
    *("group", "phrase", "question", "answer", "answer_type", "qid"),
)


def check_form(datalist: Any, source: str) -> None:
    """Check that header and items hold the kinds of value that the format says, and no empty string.

    Args:
        datalist: the parsed JSON.
        source: the file's name, for the message.

    Raises:
        DataError: the first violation found.
    """
    if not isinstance(datalist, Mapping):
        raise DataError(f"{source}: a data list is a JSON object, not {_shown(datalist)}")
    splits = [name for name in SPLITS if name in datalist]
    if not splits:
        raise DataError(f"{source}: the list has none of the splits {', '.join(SPLITS)}")
    _check_header(datalist, source)
    for name in splits:
        _check_entries(datalist[name], name, source)
    for item in each_item(datalist):
        _check_item(item, source)


def each_item(datalist: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Every item of every split, in the order of the list."""
    for split in SPLITS:
        yield from datalist.get(split, ())


def fail(source: str, item: Mapping[str, Any], reason: str) -> DataError:
    """The error for one item; the caller raises it."""
    return DataError(f"{source}: item {item['id']}: {reason}")


def _check_header(datalist: Mapping[str, Any], source: str) -> None:
    for key, value in datalist.items():
        if key not in SPLITS and _has_empty_string(value):
            raise DataError(f"{source}: the header key '{key}' holds an empty string; leave the key out instead")
    if datalist.get("schema_version", 1) != 1:
        raise DataError(f"{source}: schema_version {_shown(datalist['schema_version'])} is unknown; 1 is known")
    if datalist.get("task", _TASKS[0]) not in _TASKS:
        raise DataError(f"{source}: task {_shown(datalist['task'])} is unknown; known are {', '.join(_TASKS)}")
    for key in _HEADER_OBJECTS:
        if not isinstance(datalist.get(key, {}), dict):
            raise DataError(f"{source}: the header key '{key}' must be an object, not {_shown(datalist[key])}")
    if not isinstance(datalist.get("image_root", "."), str):
        raise DataError(f"{source}: 'image_root' must be a folder's path, not {_shown(datalist['image_root'])}")
    if not _is_texts(datalist.get("classes", [])):
        raise DataError(f"{source}: 'classes' must be a list of names, not {_shown(datalist['classes'])}")
    joined = datalist.get("split", {}).get("joined", [])
    if not isinstance(joined, list) or not all(group and _is_texts(group) for group in joined):
        raise DataError(f"{source}: 'joined' of the header's 'split' must be a list of lists of patients")
    for percent, about in datalist.get("subsets", {}).items():
        if not percent.isdecimal() or not isinstance(about, dict):
            raise DataError(f"{source}: the header's 'subsets' must map a percentage to an object, as in '10'")


def _check_entries(items: Any, split: str, source: str) -> None:
    if not isinstance(items, list) or not items:
        raise DataError(f"{source}: '{split}' must be a list with at least one item; leave an empty split out")
    for number, item in enumerate(items):
        if not isinstance(item, dict):
            raise DataError(f"{source}: entry {number} of '{split}' must be an object, not {_shown(item)}")
        for key in ("id", "image"):
            if not isinstance(item.get(key), str) or not item[key].strip():
                raise DataError(f"{source}: entry {number} of '{split}' has no '{key}', which must be a text")


def _check_item(item: Mapping[str, Any], source: str) -> None:
    for key, value in item.items():
        if _has_empty_string(value):
            raise fail(source, item, f"'{key}' holds an empty string; leave the key out instead")
    for key in _ITEM_TEXTS:
        if key in item and not isinstance(item[key], str):
            raise fail(source, item, f"'{key}' must be a text, not {_shown(item[key])}")
    if "view" in item and item["view"] not in _VIEWS:
        raise fail(source, item, f"view '{item['view']}' is none of {', '.join(_VIEWS)}")
    if "text" in item and not isinstance(item["text"], str) and not (item["text"] and _is_texts(item["text"])):
        raise fail(source, item, "'text' must be a text or a list of texts")
    subset = item.get("subset", [])
    if not isinstance(subset, list) or not all(type(percent) is int for percent in subset):
        raise fail(source, item, f"'subset' must be a list of percentages, not {_shown(subset)}")


def _has_empty_string(value: Any) -> bool:
    if isinstance(value, str):
        return not value.strip()
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, list):
        return False
    # Most parts of large lists are numbers: they are passed over without a call for each.
    return any(_has_empty_string(part) for part in value if isinstance(part, _MAY_HOLD_TEXT))


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(part, str) for part in value)


def _shown(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 40 else f"{text[:40]}..."
