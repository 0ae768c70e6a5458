"""A phantom drawn again with its findings elsewhere: what the control of the moved finding looks at."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
from monai.config import KeysCollection
from monai.transforms import MapTransform

from bundle.data.phantom import draw_phantom

__all__ = ["DrawMovedd"]


class DrawMovedd(MapTransform):
    """Draws `{key}_image` uint8 [1, H, W] and `{key}_label` uint8 [1, H, W] of 0 and 1; the drawing order goes away.

    Args:
        keys: keys of drawing orders: `seed`, `size`, `findings` (of `bundle.data.phantom_findings.Finding`) and
            `finding`, the one of these that the label is of. Items without one pass.

    Example:
        >>> order = {"seed": 7, "size": 64, "findings": (nodule,), "finding": nodule}  # doctest: +SKIP
        >>> DrawMovedd("moved")({"moved": order})["moved_image"].shape  # doctest: +SKIP
        (1, 64, 64)
    """

    def __init__(self, keys: KeysCollection) -> None:
        super().__init__(keys, allow_missing_keys=True)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        item = dict(data)
        for key in list(self.key_iterator(item)):
            order = item.pop(key)
            phantom = draw_phantom(order["seed"], order["size"], order["findings"])
            mask = phantom.finding_masks[phantom.findings.index(order["finding"])]
            item[f"{key}_image"] = phantom.image[None]
            item[f"{key}_label"] = mask[None].astype(np.uint8)
        return item
