"""Reading and fitting radiographs in MONAI's dictionaries, for small sets that are used unpacked."""

from __future__ import annotations

import math
import os
from collections.abc import Hashable, Mapping
from typing import Any, Literal

import numpy as np
from monai.config import KeysCollection
from monai.transforms import MapTransform
from monai.utils import ensure_tuple

from bundle.data.errors import DataError
from bundle.data.radiograph_reader import read_radiograph
from bundle.transforms.body_mask import body_mask
from bundle.transforms.geometry import Geometry, crop_box, fit

__all__ = ["FitRadiographd", "Geometry", "LoadRadiographd", "body_mask", "crop_box", "fit"]


class LoadRadiographd(MapTransform):
    """Replaces paths by radiographs: numpy [1, H, W], uint8 or uint16 over the full range, upright, bone bright.

    The (H, W) of the original image is put under `{key}_size` (it differs from the array's where a JPEG was decoded at
    half scale), the (row, column) spacing of its pixels in mm under `{key}_spacing` (nan where the file has none), and
    the path under `{key}_path`. See `read_radiograph` for file types and errors.

    Args:
        keys: keys that hold paths.
        draft: shortest longer side in pixels that is of use; None decodes everything in full. Twice the size that
            `FitRadiographd` makes is a good value.
        allow_missing_keys: whether items without a key pass.

    Raises:
        DataError: a file can't be used.

    Example:
        >>> LoadRadiographd("image")({"image": "chest.dcm"})["image"].shape
        (1, 3056, 2544)
    """

    def __init__(self, keys: KeysCollection, draft: int | None = None, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.draft = draft

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        item = dict(data)
        for key in self.key_iterator(item):
            path = item[key]
            radiograph = read_radiograph(path, self.draft)
            item[key] = radiograph.pixels[None]
            item[f"{key}_path"] = os.fspath(path)
            item[f"{key}_size"] = radiograph.size
            item[f"{key}_spacing"] = radiograph.spacing or (math.nan, math.nan)
        return item


class FitRadiographd(MapTransform):
    """Crops black borders and fits radiographs into squares, uint8 [1, S, S]; masks follow their image.

    The `Geometry` is put under `{key}_geometry`: it takes predictions back to the original image.

    Args:
        keys: keys of images [1, H, W], uint8 or uint16.
        size: S, side of the square in pixels.
        mode: "pad" keeps the aspect, "stretch" fills the square.
        mask_keys: keys of masks [C, H, W] of the original size, fitted as the first image is, to the nearest pixel and
            in their own dtype; None: no masks.
        allow_missing_keys: whether items without a key pass.

    Raises:
        DataError: an image of another type, or a mask whose size isn't that of its image.

    Example:
        >>> load = LoadRadiographd("image")
        >>> item = FitRadiographd("image", 256, mask_keys="mask")(load({"image": "chest.png", "mask": mask}))
        >>> item["image"].shape, item["mask"].shape
        ((1, 256, 256), (1, 256, 256))
    """

    def __init__(
        self,
        keys: KeysCollection,
        size: int,
        mode: Literal["pad", "stretch"] = "pad",
        mask_keys: KeysCollection | None = None,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.size = size
        self.mode = mode
        self.mask_keys = ensure_tuple(mask_keys) if mask_keys is not None else ()

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        item = dict(data)
        fitted = list(self.key_iterator(item))
        for key in fitted:
            square, geometry = fit(_only_channel(item[key], key), self.size, self.mode, item.get(f"{key}_size"))
            item[key] = square[None]
            item[f"{key}_geometry"] = geometry
        for key in self.mask_keys:
            if fitted and (key in item or not self.allow_missing_keys):
                geometry = item[f"{fitted[0]}_geometry"]
                item[key] = np.stack([geometry.mask_to_fitted(channel) for channel in np.asarray(item[key])])
        return item


def _only_channel(image: Any, key: Hashable) -> np.ndarray:
    image = np.asarray(image)
    if image.ndim != 3 or image.shape[0] != 1:
        raise DataError(f"{key}: a radiograph [1, H, W] is needed, this is {image.shape}")
    return image[0]
