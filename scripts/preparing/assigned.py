"""Items with the split that each belongs to, in the order of their source: which are taken, and the list they make."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bundle.data.splits import split_by_group
from scripts.preparing.official import person_of, with_images, with_subsets

__all__ = ["Assigned", "as_splits", "assign_evenly", "describe_published", "present"]

Assigned = tuple[str, dict[str, Any]]
"""A split's name and an item of it."""


def assign_evenly(items: Sequence[dict[str, Any]], validation: float, test: float, seed: int) -> list[Assigned]:
    """Draw a split for each item, by patient, or by image where items name no patient.

    Args:
        items: the items.
        validation: share of the items for validation.
        test: share of the items for test.
        seed: seed of the draw.

    Returns:
        The items in the same order, each with its split; see `bundle.data.splits.split_by_group`.

    Raises:
        DataError: there are too few patients.
    """
    groups = [person_of(item) for item in items]
    return list(zip(split_by_group(groups, validation, test, seed) if items else (), items, strict=True))


def present(assigned: Iterable[Assigned], args: argparse.Namespace) -> list[Assigned]:
    """The first `--limit` items, without those whose files are missing.

    The limit comes after the splits are known, so that an item is in the same split with and without it.

    Raises:
        DataError: a file is missing and the record stops at the first.
    """
    taken = list(assigned)[: args.limit]
    there = {item["id"] for item in with_images([item for _, item in taken], args.root, args)}
    return [(split, item) for split, item in taken if item["id"] in there]


def as_splits(assigned: Iterable[Assigned], seed: int) -> dict[str, Any]:
    """The splits with nested subsets of the training items, and the header's `subsets`."""
    splits: dict[str, list[dict[str, Any]]] = {"training": [], "validation": [], "test": []}
    for split, item in assigned:
        splits[split].append(item)
    return with_subsets(splits, seed)


def describe_published(args: argparse.Namespace, published: Mapping[str, int]) -> dict[str, Any]:
    """The header's `published`: what the source says of its size, unless the list was made with a limit."""
    return {"published": dict(published)} if published and not args.limit else {}
