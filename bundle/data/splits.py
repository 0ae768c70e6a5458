"""Splits by patient and nested subsets of the training split, drawn once and written into the data list."""

from __future__ import annotations

import hashlib
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from typing import Any

from bundle.data.errors import DataError

__all__ = ["in_drawn_order", "mark_subsets", "split_by_group"]

_PERCENTS = (1, 10, 100)


def split_by_group(groups: Sequence[str], validation: float, test: float, seed: int = 0) -> list[str]:
    """Assign items to splits so that no group (patient) is in two of them.

    Groups are put in an order that depends only on the seed and their names; the first of them go to `test` until it
    holds its share of the items, the next to `validation`, the others to `training`. The result doesn't depend on the
    order of the items, on the machine or on a library's version.

    Args:
        groups: the group of each item.
        validation: share of the items for validation, 0 to 1.
        test: share of the items for test, 0 to 1.
        seed: another seed gives another split.

    Returns:
        For each item `training`, `validation` or `test`. A share above 0 gets at least one group.

    Raises:
        DataError: a share is outside 0 to 1, nothing is left for training, or there are too few groups.

    Example:
        >>> split_by_group(["p1", "p1", "p2", "p3"], validation=0.25, test=0.25, seed=1)
        ['training', 'training', 'test', 'validation']
    """
    if min(validation, test) < 0 or validation + test >= 1:
        raise DataError(f"The shares validation {validation} and test {test} must leave something for training")
    sizes = Counter(groups)
    order = deque(_shuffled(sizes, seed))
    if len(order) < 1 + (validation > 0) + (test > 0):
        raise DataError(f"There are only {len(order)} patients or groups, too few for the splits that were asked for")
    split_of: dict[str, str] = {}
    for split, share, reserved in (("test", test, 1 + (validation > 0)), ("validation", validation, 1)):
        taken = 0
        # Taking a group is right while at least half of it fits: no other number of groups comes nearer to the share.
        while share and len(order) > reserved and (not taken or taken + sizes[order[0]] / 2 <= share * len(groups)):
            taken += sizes[order[0]]
            split_of[order.popleft()] = split
    return [split_of.get(group, "training") for group in groups]


def mark_subsets(
    training: Sequence[dict[str, Any]], percents: Iterable[int] = _PERCENTS, seed: int = 0
) -> tuple[list[dict[str, Any]], dict[str, dict[str, int]]]:
    """Draw nested subsets of the training items: 1 % lies in 10 %, which lies in 100 %.

    Each subset holds `percent` of the images, rounded down but at least one, so that its size is the one that
    published protocols state. The draw depends on the ids and the seed, not on the order of the items.

    Args:
        training: items with an `id`.
        percents: the subsets' sizes in percent.
        seed: seed of the draw.

    Returns:
        Copies of the items with the key `subset`, such as [10, 100], in the order given, and the header's `subsets`,
        such as {"10": {"seed": 0, "n": 12}}.
    """
    rank = {name: position for position, name in enumerate(_shuffled((item["id"] for item in training), seed))}
    sizes = {percent: max(min(1, len(training)), len(training) * percent // 100) for percent in sorted(percents)}
    marked = [
        {**item, "subset": [percent for percent, size in sizes.items() if rank[item["id"]] < size]} for item in training
    ]
    return marked, {str(percent): {"seed": seed, "n": size} for percent, size in sizes.items()}


def in_drawn_order(items: Iterable[dict[str, Any]], seed: int) -> list[dict[str, Any]]:
    """Items in an order that depends on their ids and the seed alone: the first n of them are a draw of n.

    Draws of one seed are nested, and so are the subsets that `mark_subsets` draws with it.

    Args:
        items: items with an `id`.
        seed: seed of the draw.

    Returns:
        The same items, shuffled.
    """
    by_id = {item["id"]: item for item in items}
    return [by_id[name] for name in _shuffled(by_id, seed)]


def _shuffled(names: Iterable[str], seed: int) -> list[str]:
    return sorted(names, key=lambda name: hashlib.sha256(f"{seed}:{name}".encode()).digest())
