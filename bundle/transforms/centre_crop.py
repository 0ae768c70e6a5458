"""The middle of a fitted radiograph, with a geometry that still leads back to the original."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
from monai.config import KeysCollection
from monai.transforms import MapTransform
from monai.utils import ensure_tuple

from bundle.data.errors import DataError
from bundle.transforms.geometry import Geometry

__all__ = ["CropCentred", "crop_centre"]


def crop_centre(square: np.ndarray, geometry: Geometry, size: int) -> tuple[np.ndarray, Geometry]:
    """Cuts the central square out of a fitted radiograph, as validation in pre-training does.

    The edges of what is shown are rounded to whole pixels of the original; they lie at most half of one off.

    Args:
        square: [..., F, F], fitted images or masks.
        geometry: how the original lies in them.
        size: S, side of the square that is cut out, at most F.

    Returns:
        A view [..., S, S] and how the original lies in it.

    Raises:
        DataError: the square is smaller than `size`.

    Example:
        >>> square, geometry = crop_centre(*fit(pixels, 256), 224)
    """
    if size > geometry.side:
        raise DataError(f"a square of {size} px can't be cut out of a radiograph fitted to {geometry.side} px")
    start = (geometry.side - size) // 2
    window = slice(start, start + size)
    rows, columns = (_visible(geometry, axis, start, size) for axis in (0, 1))
    (top, bottom, down, row), (left, right, across, column) = rows, columns
    cut = Geometry(geometry.size, (top, left, bottom, right), (down, across), (row, column), size)
    return square[..., window, window], cut


def _visible(geometry: Geometry, axis: int, start: int, size: int) -> tuple[int, int, float, int]:
    """First and last + 1 pixel of the original that is left along an axis, scale and offset."""
    first, last = geometry.content[axis], geometry.content[axis + 2]
    low, high = max(first, start), min(last, start + size)
    if low >= high:
        raise DataError(f"nothing of the radiograph is left in the central square of {size} px")
    begin = geometry.box[axis] + round((low - first) / geometry.scale[axis])
    end = geometry.box[axis] + round((high - first) / geometry.scale[axis])
    end = max(end, begin + 1)
    return begin, end, (high - low) / (end - begin), low - start


class CropCentred(MapTransform):
    """Cuts the central square out of what `FitRadiographd` made; masks follow, the geometry is brought up to date.

    Args:
        keys: keys of fitted images [1, F, F], each with its `{key}_geometry`.
        size: S, side of the square that is cut out; F itself changes nothing.
        mask_keys: keys of masks [C, F, F] that were fitted as the first image was; None: no masks.
        allow_missing_keys: whether items without a key pass.

    Raises:
        DataError: an image is smaller than `size`.

    Example:
        >>> Compose([LoadRadiographd("image"), FitRadiographd("image", 256), CropCentred("image", 224)])
    """

    def __init__(
        self,
        keys: KeysCollection,
        size: int,
        mask_keys: KeysCollection | None = None,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.size = size
        self.mask_keys = ensure_tuple(mask_keys) if mask_keys is not None else ()

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        item = dict(data)
        images = list(self.key_iterator(item))
        for key in self.mask_keys:
            if images and (key in item or not self.allow_missing_keys):
                item[key] = crop_centre(np.asarray(item[key]), item[f"{images[0]}_geometry"], self.size)[0]
        for key in images:
            fitted = np.asarray(item[key]), item[f"{key}_geometry"]
            item[key], item[f"{key}_geometry"] = crop_centre(*fitted, self.size)
        return item
