"""Rules that every data list obeys whatever its task: form, ids, splits, subsets, counts and paths."""

from __future__ import annotations

import hashlib
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from bundle.data.errors import DataError

__all__ = ["SPLITS", "check_rules", "each_item", "fail", "sha256_of_ids"]

SPLITS = {"training": "numTraining", "validation": "numValidation", "test": "numTest"}
"""Every split's key, with the header key of its count."""

VIEWS = ("PA", "AP", "L")
PATH_KEYS = ("image", "mask")
TEXT_KEYS = ("id", "image", "patient", "study", "view", "findings", "impression", "mask", "phrase", "group")
TEXT_KEYS += ("question", "answer", "answer_type", "qid", "caption")
TASKS = ("classification", "segmentation", "detection", "grounding", "retrieval", "vqa", "pretrain")


def check_rules(datalist: Any, source: str) -> None:
    """Check what every list must obey; `bundle.data.datalist.check_datalist` names the rules.

    Args:
        datalist: the parsed JSON.
        source: the file's name, for the message.

    Raises:
        DataError: the first violation found.
    """
    _check_form(datalist, source)
    _check_strings(datalist, source)
    _check_ids(datalist, source)
    _check_patients(datalist, source)
    _check_subsets(datalist, source)
    _check_counts(datalist, source)
    _check_paths(datalist, source)


def each_item(datalist: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Every item of every split, in the order of the list."""
    for split in SPLITS:
        yield from datalist.get(split, ())


def fail(source: str, item: Mapping[str, Any], reason: str) -> DataError:
    """The error for one item; the caller raises it."""
    return DataError(f"{source}: item {item['id']}: {reason}.")


def sha256_of_ids(items: Iterable[Mapping[str, Any]]) -> str:
    """Hash of a split's membership, the same in whatever order its items stand.

    Args:
        items: items with an `id`.

    Returns:
        Hexadecimal sha256 of the sorted ids, one a line.
    """
    return hashlib.sha256("\n".join(sorted(item["id"] for item in items)).encode()).hexdigest()


def _check_form(datalist: Any, source: str) -> None:
    if not isinstance(datalist, Mapping):
        raise DataError(f"{source}: a data list is a JSON object, not a {type(datalist).__name__}.")
    splits = [name for name in SPLITS if name in datalist]
    if not splits:
        raise DataError(f"{source}: the list has none of the splits {', '.join(SPLITS)}.")
    for name in splits:
        _check_split_form(datalist[name], name, source)
    if datalist.get("schema_version", 1) != 1:
        raise DataError(f"{source}: schema_version {datalist['schema_version']} is unknown; this version reads 1.")
    if datalist.get("task", TASKS[0]) not in TASKS:
        raise DataError(f"{source}: task '{datalist['task']}' is unknown; known are {', '.join(TASKS)}.")


def _check_split_form(items: Any, name: str, source: str) -> None:
    if not isinstance(items, list) or not items:
        raise DataError(f"{source}: the split '{name}' must be a list with at least one item; leave an empty one out.")
    for number, item in enumerate(items):
        if not isinstance(item, dict):
            raise DataError(f"{source}: entry {number} of '{name}' must be a JSON object.")
        for key in ("id", "image"):
            if not isinstance(item.get(key), str) or not item[key].strip():
                raise DataError(f"{source}: entry {number} of '{name}' has no '{key}', which must be a text.")


def _check_strings(datalist: Mapping[str, Any], source: str) -> None:
    for key, value in datalist.items():
        if key not in SPLITS and _has_empty_string(value):
            raise DataError(f"{source}: the header key '{key}' holds an empty string; leave the key out instead.")
    for item in each_item(datalist):
        for key, value in item.items():
            if _has_empty_string(value):
                raise fail(source, item, f"'{key}' holds an empty string; leave the key out instead")
        for key in TEXT_KEYS:
            if key in item and not isinstance(item[key], str):
                raise fail(source, item, f"'{key}' must be a text, not {item[key]!r}")
        if "view" in item and item["view"] not in VIEWS:
            raise fail(source, item, f"view '{item['view']}' is none of {', '.join(VIEWS)}")
        if "text" in item and not _is_text_or_texts(item["text"]):
            raise fail(source, item, "'text' must be a text or a list of texts")


def _has_empty_string(value: Any) -> bool:
    if isinstance(value, str):
        return not value.strip()
    if isinstance(value, dict):
        return any(_has_empty_string(part) for part in value.values())
    if isinstance(value, list):
        return any(_has_empty_string(part) for part in value)
    return False


def _is_text_or_texts(value: Any) -> bool:
    if isinstance(value, list):
        return bool(value) and all(isinstance(part, str) for part in value)
    return isinstance(value, str)


def _check_ids(datalist: Mapping[str, Any], source: str) -> None:
    split_of: dict[str, str] = {}
    for split in SPLITS:
        for item in datalist.get(split, ()):
            before = split_of.setdefault(item["id"], split)
            if before != split:
                raise fail(source, item, f"the id is in both {before} and {split}")
    ids = Counter(item["id"] for item in each_item(datalist))
    repeated, count = ids.most_common(1)[0]
    if count > 1:
        raise DataError(f"{source}: item {repeated}: the id occurs {count} times; ids must be unique.")


def _check_patients(datalist: Mapping[str, Any], source: str) -> None:
    same_person = {
        patient: group[0] for group in datalist.get("split", {}).get("joined", ()) for patient in group
    }
    split_of: dict[str, str] = {}
    unknown = 0
    for split in SPLITS:
        for item in datalist.get(split, ()):
            if "patient" not in item:
                unknown += 1
                continue
            patient = item["patient"]
            before = split_of.setdefault(same_person.get(patient, patient), split)
            if before != split:
                raise fail(source, item, f"its patient {patient} is in both {before} and {split}")
    if unknown:
        warnings.warn(
            f"{source}: {unknown} items name no patient, so a patient in two splits would go unnoticed.", stacklevel=5
        )


def _check_subsets(datalist: Mapping[str, Any], source: str) -> None:
    declared = datalist.get("subsets", {})
    percents = sorted(int(name) for name in declared if name != "100")
    counts = dict.fromkeys(percents, 0)
    for item in datalist.get("training", ()):
        if "subset" not in item:
            continue
        members = set(item["subset"]) - {100}
        if not members <= set(percents):
            raise fail(source, item, f"subset {item['subset']} is not declared in the header's 'subsets'")
        if members != {percent for percent in percents if percent >= min(members, default=100)}:
            raise fail(source, item, f"subset {item['subset']} breaks the nesting: a larger subset lacks the item")
        for percent in members:
            counts[percent] += 1
    for split in ("validation", "test"):
        for item in datalist.get(split, ()):
            if "subset" in item:
                raise fail(source, item, f"only training items belong to a subset, and it is in {split}")
    counts[100] = len(datalist.get("training", ()))
    for name, about in declared.items():
        if counts[int(name)] != about.get("n"):
            raise DataError(
                f"{source}: subset {name} has {counts[int(name)]} items, but the header says {about.get('n')}."
            )


def _check_counts(datalist: Mapping[str, Any], source: str) -> None:
    for split, count_key in SPLITS.items():
        count = len(datalist.get(split, ()))
        if datalist.get(count_key, count) != count:
            raise DataError(f"{source}: {split} has {count} items, but {count_key} says {datalist[count_key]}.")
    for split, expected in datalist.get("sha256", {}).items():
        if sha256_of_ids(datalist.get(split, ())) != expected:
            raise DataError(
                f"{source}: the ids of {split} are not those the list was written with (sha256 differs); "
                "prepare the list anew instead of editing it."
            )


def _check_paths(datalist: Mapping[str, Any], source: str) -> None:
    for item in each_item(datalist):
        for key in PATH_KEYS:
            path = item.get(key)
            if path is not None and not _is_plain_relative(path):
                raise fail(source, item, f"{key} '{path}' must be relative to image_root, with / and without ..")


def _is_plain_relative(path: str) -> bool:
    return not (path.startswith("/") or "\\" in path or path[1:2] == ":" or ".." in path.split("/"))
