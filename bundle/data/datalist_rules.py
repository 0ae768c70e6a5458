"""Rules that tie a data list's items together: ids, patients, subsets, counts and paths."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from bundle.data.datalist_form import SPLITS, each_item, fail
from bundle.data.errors import DataError
from bundle.data.leaks import find_leaks
from bundle.data.manifest import ids_sha256

__all__ = ["check_rules", "sha256_of_ids"]

_PATH_KEYS = ("image", "mask")
_UNSHARED = ("image", "patient")


def check_rules(datalist: Mapping[str, Any], source: str) -> None:
    """Check ids, patients, subsets, counts and paths.

    Args:
        datalist: a list that passed `bundle.data.datalist_form.check_form`.
        source: the file's name, for the message.

    Raises:
        DataError: the first violation found.
    """
    _check_ids(datalist, source)
    _check_leaks(datalist, source)
    _check_subset_members(datalist, source)
    _check_subset_counts(datalist, source)
    _check_counts(datalist, source)
    _check_paths(datalist, source)


def sha256_of_ids(items: Iterable[Mapping[str, Any]]) -> str:
    """Hash of a split's membership, the same in whatever order its items stand.

    Args:
        items: items with an `id`.

    Returns:
        Hexadecimal sha256 of the sorted ids, one a line.
    """
    return ids_sha256(sorted(item["id"] for item in items))


def _check_ids(datalist: Mapping[str, Any], source: str) -> None:
    split_of: dict[str, str] = {}
    for split in SPLITS:
        for item in datalist.get(split, ()):
            before = split_of.setdefault(item["id"], split)
            if before != split:
                raise fail(source, item, f"the id is in both {before} and {split}")
    repeated, count = Counter(item["id"] for item in each_item(datalist)).most_common(1)[0]
    if count > 1:
        raise DataError(f"{source}: item {repeated}: the id occurs {count} times; ids must be unique")


def _check_leaks(datalist: Mapping[str, Any], source: str) -> None:
    """No image and no patient is in two splits, or as many as the header's `split` declares in `leaks`."""
    declared = datalist.get("split", {}).get("leaks")
    if declared is None:
        _check_members(datalist, source)
    elif (found := find_leaks(datalist)) != declared:
        raise DataError(f"{source}: its splits share {found or 'nothing'}, but the header's 'leaks' says {declared}")
    unknown = sum("patient" not in item for item in each_item(datalist))
    if unknown:
        warnings.warn(
            f"{source}: {unknown} items name no patient; a patient in two splits would go unnoticed.", stacklevel=5
        )


def _check_members(datalist: Mapping[str, Any], source: str) -> None:
    joined = datalist.get("split", {}).get("joined", [])
    person_of = {patient: group[0] for group in joined for patient in group}
    split_of: dict[tuple[str, str], str] = {}
    for split in SPLITS:
        for item in datalist.get(split, ()):
            for kind in _UNSHARED:
                if kind not in item:
                    continue
                name = person_of.get(item[kind], item[kind]) if kind == "patient" else item[kind]
                before = split_of.setdefault((kind, name), split)
                if before != split:
                    raise fail(source, item, f"its {kind} {item[kind]} is in both {before} and {split}")


def _check_subset_members(datalist: Mapping[str, Any], source: str) -> None:
    percents = _declared_percents(datalist)
    for item in datalist.get("training", ()):
        members = set(item.get("subset", ())) - {100}
        if not members <= percents:
            raise fail(source, item, f"subset {item['subset']} is not declared in the header's 'subsets'")
        if members and members != {percent for percent in percents if percent >= min(members)}:
            raise fail(source, item, f"subset {item['subset']} isn't nested: a larger subset lacks the item")
    for split in ("validation", "test"):
        for item in datalist.get(split, ()):
            if "subset" in item:
                raise fail(source, item, f"it has a subset but is in {split}; only training items may")


def _declared_percents(datalist: Mapping[str, Any]) -> set[int]:
    """Percentages below 100: all training items are the subset of 100 %, whether that is written or not."""
    return {int(percent) for percent in datalist.get("subsets", {})} - {100}


def _check_subset_counts(datalist: Mapping[str, Any], source: str) -> None:
    training = datalist.get("training", ())
    counts = Counter(percent for item in training for percent in item.get("subset", ()))
    counts[100] = len(training)
    for percent, about in datalist.get("subsets", {}).items():
        if counts[int(percent)] != about.get("n"):
            raise DataError(
                f"{source}: subset {percent} has {counts[int(percent)]} items, but the header says {about.get('n')}"
            )


def _check_counts(datalist: Mapping[str, Any], source: str) -> None:
    for split, count_key in SPLITS.items():
        count = len(datalist.get(split, ()))
        if datalist.get(count_key, count) != count:
            raise DataError(f"{source}: {split} has {count} items, but {count_key} says {datalist[count_key]}")
    for split, expected in datalist.get("sha256", {}).items():
        if sha256_of_ids(datalist.get(split, ())) != expected:
            raise DataError(
                f"{source}: the ids of {split} are not those the list was written with (sha256 differs); "
                "prepare the list anew instead of editing it"
            )


def _check_paths(datalist: Mapping[str, Any], source: str) -> None:
    for item in each_item(datalist):
        for key in _PATH_KEYS:
            if key in item and not _is_plain_relative(item[key]):
                raise fail(source, item, f"{key} '{item[key]}' must be relative to image_root, with / and without ..")


def _is_plain_relative(path: str) -> bool:
    return not (path.startswith("/") or "\\" in path or path[1:2] == ":" or ".." in path.split("/"))
