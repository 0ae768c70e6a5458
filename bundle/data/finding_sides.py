"""On which side of the chest a finding is, where a data list says so."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

from bundle.data.datalist import load_datalist
from bundle.data.labelled import annotation

__all__ = ["finding_sides"]

_LEFT = {"left": 1.0, "right": 0.0}


def finding_sides(path: str | os.PathLike[str], split: str, classes: Sequence[str]) -> list[list[float]]:
    """For each item that `labelled_items` gives for classification and each class the side of its finding.

    A list says so by the key `truth` of an item: a list of objects with `name` and, for a finding of one side, `side`.

    Args:
        path: the data list.
        split: `training`, `validation` or `test`.
        classes: names of the findings.

    Returns:
        For each item K values: 1 where the finding is on the (patient's) left only, 0 on the right only, nan where it
        is on none, on both, or not told.

    Raises:
        DataError: the list can't be used or lacks the split.
    """
    items = [item for item in load_datalist(path, split) if annotation(item, "classification") is not None]
    return [[_side(item.get("truth", []), name) for name in classes] for item in items]


def _side(truth: Sequence[Mapping[str, Any]], name: str) -> float:
    sides = {finding.get("side") for finding in truth if finding.get("name") == name}
    return _LEFT.get(next(iter(sides)) or "", math.nan) if len(sides) == 1 else math.nan
