"""Which items of a packed store count as relevant to each other in retrieval."""

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from bundle.data.datalist import load_datalist
from bundle.data.errors import DataError

__all__ = ["relevance_groups"]


def relevance_groups(path: str | os.PathLike[str], split: str, ids: Sequence[str]) -> list[int]:
    """Number the relevance groups of items: equal numbers are relevant to each other.

    An item's group is its `group`; else its class, if it has exactly one: a label that is a class number, or a list of
    labels with one 1 and none uncertain (-1). All others have none, as in 5x200, whose images have one finding each.

    Args:
        path: the data list that the store was packed from, or one with the same ids.
        split: `training`, `validation` or `test`.
        ids: ids of the store's items, in its order.

    Returns:
        For each id a number from 0, or -1 where it has no group.

    Raises:
        DataError: the list can't be used or lacks the split, lacks an id, or gives none of them a group.

    Example:
        >>> relevance_groups("lists/5x200/datalist.json", "test", store.items["id"])  # doctest: +SKIP
    """
    items = {item["id"]: item for item in load_datalist(path, split, path_keys=())}
    if absent := [name for name in ids if name not in items]:
        raise DataError(
            f"{path}: the split {split} has no item {absent[0]}, which the packed store has; give the list that the "
            "store was packed from"
        )
    groups = [_group(items[name]) for name in ids]
    numbers = {group: number for number, group in enumerate(dict.fromkeys(one for one in groups if one is not None))}
    if not numbers:
        raise DataError(
            f"{path}: no item of {split} has a 'group' or a label with exactly one class, which precision needs; leave "
            "the list out to measure recall alone"
        )
    return [-1 if group is None else numbers[group] for group in groups]


def _group(item: Mapping[str, Any]) -> Hashable | None:
    """What an item is grouped by, if anything."""
    label = item.get("label")
    if "group" in item:
        return "group", item["group"]
    if isinstance(label, int):
        return "class", label
    if isinstance(label, list) and label.count(1) == 1 and -1 not in label:
        return "class", label.index(1)
    return None
