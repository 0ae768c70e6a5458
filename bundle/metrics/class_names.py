"""Names of classes as parts of names of metrics."""

from __future__ import annotations

import re
from collections.abc import Sequence

__all__ = ["metric_suffixes"]

_RESERVED = {"macro", "mgca", "empty"}  # they would turn the name of one metric into that of another


def metric_suffixes(classes: Sequence[str]) -> list[str]:
    """The name of each class with underscores for everything but letters and digits.

    Args:
        classes: names of the classes, at least one.

    Raises:
        ValueError: when there is none, two become the same, or one is empty or has a meaning of its own (`macro`,
            `mgca`, `empty`).

    Example:
        >>> metric_suffixes(["Pleural Effusion", "left lung"])
        ['Pleural_Effusion', 'left_lung']
    """
    suffixes = [re.sub(r"\W+", "_", name).strip("_") for name in classes]
    if not suffixes:
        raise ValueError("a metric needs at least one class; check `classes` in the data list")
    for name, suffix in zip(classes, suffixes, strict=True):
        if not suffix or suffix in _RESERVED or suffixes.count(suffix) > 1:
            raise ValueError(
                f"class {name!r} gives the metric name suffix {suffix!r}, which is empty, reserved or shared with "
                "another class: rename it in the data list"
            )
    return suffixes
