"""Batches of items that have different numbers of boxes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from monai.data import list_data_collate

__all__ = ["pad_boxes"]


def pad_boxes(items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Collate items with boxes, padded to as many as the item with most of them has (at least 1).

    Args:
        items: dicts with `boxes` [N, 4] and `box_label` [N], N different in each and maybe 0; all else alike.

    Returns:
        `boxes` [B, M, 4] float32, 0 where there is none, and `box_label` [B, M] int64, there -1; the rest as MONAI's
        loader collates it.

    Example:
        >>> none, one = {"boxes": [], "box_label": []}, {"boxes": [[0, 0, 5, 5]], "box_label": [2]}
        >>> pad_boxes([none, one])["box_label"].tolist()
        [[-1], [2]]
    """
    boxes = [torch.as_tensor(item["boxes"], dtype=torch.float32).reshape(-1, 4) for item in items]
    most = max(1, *(len(of_one) for of_one in boxes))
    padded = torch.zeros(len(items), most, 4)
    labels = torch.full((len(items), most), -1)
    for row, (of_one, item) in enumerate(zip(boxes, items, strict=True)):
        padded[row, : len(of_one)] = of_one
        labels[row, : len(of_one)] = torch.as_tensor(item["box_label"], dtype=torch.int64)
    rest = [{key: value for key, value in item.items() if key not in ("boxes", "box_label")} for item in items]
    return list_data_collate(rest) | {"boxes": padded, "box_label": labels}
