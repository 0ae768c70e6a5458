"""Boxes as their source has them, put into their image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bundle.data.errors import DataError
from scripts.preparing.record import Record

__all__ = ["fit_boxes"]


def fit_boxes(
    boxes: Sequence[Sequence[float]], labels: Sequence[int], size: Sequence[int], record: Record
) -> dict[str, Any]:
    """Cut boxes at the edges of their image and leave those without area out; both are counted.

    Args:
        boxes: [x1, y1, x2, y2] in pixels of the image, half-open.
        labels: the class of each.
        size: [H, W] of the image.
        record: counts what is left out.

    Returns:
        `boxes`, `box_label` and `size` of an item; nothing where no box is left of some, as none would mean that there
        is nothing to be found.

    Raises:
        DataError: the greater part of a box lies outside, so it was drawn on an image of another size.

    Example:
        >>> fit_boxes([[-0.5, 2, 4, 9]], [0], [8, 10], Record())
        {'boxes': [[0, 2, 4, 8]], 'box_label': [0], 'size': [8, 10]}
    """
    height, width = size
    kept, kept_labels = [], []
    for box, label in zip(boxes, labels, strict=True):
        if _area(box) <= 0:
            record.drop("box without area")
            continue
        limits = (width, height, width, height)
        cut = [min(max(round(side, 3), 0), limit) for side, limit in zip(box, limits, strict=True)]
        if _area(cut) < _area(box) / 2:
            raise DataError(
                f"its box {list(box)} lies mostly outside of {width} x {height} pixels, the size of its image; boxes "
                "belong to the original images, not to resized ones"
            )
        if any(abs(there - before) > 1e-3 for there, before in zip(cut, box, strict=True)):
            record.drop("part of a box that was outside of its image")
        kept.append(cut)
        kept_labels.append(label)
    return {"boxes": kept, "box_label": kept_labels, "size": [height, width]} if kept or not boxes else {}


def _area(box: Sequence[float]) -> float:
    x1, y1, x2, y2 = box
    return max(x2 - x1, 0) * max(y2 - y1, 0)
