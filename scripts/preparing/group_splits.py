"""Splits by whatever keeps related images together where no patient is known: a report, a paper."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bundle.data.splits import split_by_group

__all__ = ["split_by_key"]

Item = dict[str, Any]


def split_by_key(
    items: Sequence[Item], groups: Sequence[str], validation: float, test: float, seed: int
) -> dict[str, list[Item]]:
    """Draw splits so that no group is in two of them; see `bundle.data.splits.split_by_group`.

    Args:
        items: the items.
        groups: the group of each.
        validation: share of the items for validation, 0 to 1.
        test: share of the items for test, 0 to 1.
        seed: seed of the draw.

    Returns:
        The items by split, each split in the order given; no items give empty splits.

    Raises:
        DataError: the shares leave nothing for training, or there are too few groups.

    Example:
        >>> split_by_key([{"id": "a"}], ["paper"], validation=0.0, test=0.0, seed=0)["training"]
        [{'id': 'a'}]
    """
    splits: dict[str, list[Item]] = {"training": [], "validation": [], "test": []}
    names = split_by_group(groups, validation, test, seed) if items else []
    for item, split in zip(items, names, strict=True):
        splits[split].append(item)
    return splits
