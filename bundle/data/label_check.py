"""Whether the labels of a data list are those of the classes that are to be learnt."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from bundle.data.errors import DataError

__all__ = ["check_box_labels", "check_labels"]

Item = Mapping[str, Any]


def check_labels(
    items: Sequence[Item], classes: Sequence[str], exclusive: bool | None, path: str | os.PathLike[str]
) -> None:
    """Refuse labels of images that a classifier of these classes can't learn.

    Args:
        items: hold `image` and `label`, a list of one value a class or the number of a class.
        classes: names of the classes.
        exclusive: whether labels must be numbers (True) or lists (False); None: either.
        path: the data list, for the message.

    Raises:
        DataError: naming list, image and what doesn't fit.
    """
    for item in items:
        label = item["label"]
        if isinstance(label, list):
            if exclusive:
                raise _unfit(item, path, "a list of one value a class", "run it without multiclass.yaml")
            if len(label) != len(classes):
                raise _unfit(item, path, f"a list of {len(label)} values", _advice(classes))
        elif exclusive is False:
            raise _unfit(item, path, "the number of a class", "add multiclass.yaml to the configs of the run")
        elif label >= len(classes):
            raise _unfit(item, path, f"the class number {label}", _advice(classes))


def check_box_labels(items: Sequence[Item], classes: Sequence[str], path: str | os.PathLike[str]) -> None:
    """Refuse labels of boxes that a detector of these classes can't learn.

    Args:
        items: hold `image` and `box_label`, numbers of classes.
        classes: names of the classes.
        path: the data list, for the message.

    Raises:
        DataError: naming list, image and number.
    """
    for item in items:
        if (largest := max(item["box_label"], default=0)) >= len(classes):
            raise _unfit(item, path, f"the class number {largest} for a box", _advice(classes))


def _advice(classes: Sequence[str]) -> str:
    return f"classes must be those of the list, but here they are {len(classes)} ({', '.join(classes)})"


def _unfit(item: Item, path: str | os.PathLike[str], found: str, advice: str) -> DataError:
    return DataError(f"{path}: the label of {item['image']} is {found}: {advice}")
