"""Annotations of radiographs in MONAI's dictionaries: masks, boxes and the size of a pixel, beside their image."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from monai.config import KeysCollection
from monai.transforms import MapTransform
from monai.utils import ensure_tuple

from bundle.data.errors import DataError
from bundle.data.mask_reader import read_mask, split_classes
from bundle.transforms.annotation_masks import boxes_to_mask, polygons_to_mask, rle_to_mask

__all__ = ["FitBoxesd", "FitSpacingd", "LoadMaskd", "boxes_to_mask", "polygons_to_mask", "rle_to_mask"]

_LEAST_AREA = 1.0  # px of the fitted image


class LoadMaskd(MapTransform):
    """Replaces annotations by masks, numpy uint8 [K, H, W] of 0 and 1 in the original size of their image.

    An annotation is one of

    - the path of a mask (see `read_mask`): everything above 0 for one class, for several value k is class k - 1;
    - `{class name: path}`: one mask a class, above 0; a class without a path is empty;
    - `{"rle": [...], "size": [H, W]}` (see `rle_to_mask`);
    - `{"boxes": [...], "size": [H, W]}` (see `boxes_to_mask`), `size` None meaning that of the image.

    Run lengths and boxes name no class: with several classes they can only say that all are empty.

    It needs the image's original size, so it comes after `LoadRadiographd`, and before `FitRadiographd`, which takes
    the masks along.

    Args:
        keys: keys that hold annotations.
        classes: the K class names.
        image_key: key of the image.
        allow_missing_keys: whether items without a key pass.

    Raises:
        DataError: a mask can't be read, is of another size than its image, or holds a value or names a class that there
            isn't.

    Example:
        >>> load = LoadRadiographd("image")
        >>> item = load({"image": "chest.png", "label": "lungs.png"})
        >>> LoadMaskd("label", ["lung"])(item)["label"].shape  # doctest: +SKIP
        (1, 3056, 2544)
    """

    def __init__(
        self,
        keys: KeysCollection = "label",
        classes: Sequence[str] = ("foreground",),
        image_key: str = "image",
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.classes = list(classes)
        self.image_key = image_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        item = dict(data)
        image, size = item[f"{self.image_key}_path"], tuple(item[f"{self.image_key}_size"])
        for key in self.key_iterator(item):
            item[key] = self._masks(item[key], image, size).astype(np.uint8)
        return item

    def _masks(self, found: Any, image: str, size: tuple[int, int]) -> np.ndarray:
        if not isinstance(found, Mapping):
            return self._from_file(found, image, size)
        if "rle" in found or "boxes" in found:
            return self._drawn(found, image, size)
        return self._from_files(found, image, size)

    def _from_file(self, path: str | Path, image: str, size: tuple[int, int]) -> np.ndarray:
        values = read_mask(path)
        _check_size(f"the mask {path}", values.shape, image, size)
        return split_classes(values, self.classes, path)

    def _from_files(self, paths: Mapping[str, str], image: str, size: tuple[int, int]) -> np.ndarray:
        if unknown := sorted(paths.keys() - set(self.classes)):
            raise DataError(f"{image}: it has a mask of '{unknown[0]}', which is none of {', '.join(self.classes)}")
        masks = np.zeros((len(self.classes), *size), dtype=bool)
        for name, path in paths.items():
            values = read_mask(path)
            _check_size(f"the mask {path}", values.shape, image, size)
            masks[self.classes.index(name)] = values > 0
        return masks

    def _drawn(self, found: Mapping[str, Any], image: str, size: tuple[int, int]) -> np.ndarray:
        kind, draw = ("run lengths", rle_to_mask) if "rle" in found else ("boxes", boxes_to_mask)
        codes = found["rle"] if "rle" in found else found["boxes"]
        if codes and len(self.classes) > 1:
            raise DataError(f"{image}: its {kind} don't tell which of the classes {', '.join(self.classes)} is meant")
        drawn_on = tuple(found.get("size") or size)
        _check_size(f"what its {kind} were drawn on", drawn_on, image, size)
        try:
            mask = draw(codes, size)
        except DataError as error:
            raise DataError(f"{image}: {error}") from error
        return np.broadcast_to(mask, (len(self.classes), *size))


class FitBoxesd(MapTransform):
    """Takes boxes of the original image to the square that `FitRadiographd` made of it.

    Boxes are numpy float32 [N, 4] afterwards, xyxy in pixels of the square, and their labels int64 [N]. A box that
    keeps less than 1 px^2 (it lay in a black border that was cut off, or is too small) is dropped with its label.

    Args:
        keys: keys of boxes [[x1, y1, x2, y2], ...] in pixels of the original, half-open. Where the item has
            `{key}_size`, the [H, W] that they were drawn on, it must be that of the image; the key is taken away.
        label_key: for each of them the key of the labels.
        image_key: key of the image.
        allow_missing_keys: whether items without a key pass.

    Raises:
        DataError: a box leaves the image, is empty, or was drawn on an image of another size; or the labels aren't as
            many as the boxes.

    Example:
        >>> FitBoxesd("boxes", "box_label")(item)["boxes"].dtype  # doctest: +SKIP
        dtype('float32')
    """

    def __init__(
        self,
        keys: KeysCollection = "boxes",
        label_key: KeysCollection = "box_label",
        image_key: str = "image",
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.label_keys = ensure_tuple(label_key)
        self.image_key = image_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        item = dict(data)
        image, geometry = item[f"{self.image_key}_path"], item[f"{self.image_key}_geometry"]
        for key, label_key in self.key_iterator(item, self.label_keys):
            if drawn_on := item.pop(f"{key}_size", None):
                _check_size("what its boxes were drawn on", tuple(drawn_on), image, geometry.size)
            boxes = np.asarray(item[key], dtype=np.float64).reshape(-1, 4)
            labels = np.asarray(item[label_key], dtype=np.int64)
            _check_boxes(boxes, labels, image, geometry.size)
            fitted = geometry.boxes_to_fitted(boxes)
            kept = np.prod(fitted[:, 2:] - fitted[:, :2], axis=1) >= _LEAST_AREA
            item[key], item[label_key] = fitted[kept].astype(np.float32), labels[kept]
        return item


class FitSpacingd(MapTransform):
    """Takes the spacing of an original image to the square: numpy float32 [2], mm a fitted pixel, (row, column).

    Where an item has none, or nan, what its image's file says counts (`LoadRadiographd` keeps it); else it is nan.

    Args:
        keys: keys of (row, column) distances of the original's pixels in mm; items without one get it.
        image_key: key of the image.

    Example:
        >>> FitSpacingd()({"spacing": (0.2, 0.2), **fitted_at_half_scale})["spacing"]  # doctest: +SKIP
        array([0.4, 0.4], dtype=float32)
    """

    def __init__(self, keys: KeysCollection = "spacing", image_key: str = "image") -> None:
        super().__init__(keys, allow_missing_keys=True)
        self.image_key = image_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        item = dict(data)
        for key in self.keys:
            spacing = np.asarray(item.get(key, (np.nan, np.nan)), dtype=np.float64)
            if np.isnan(spacing).any():
                spacing = np.asarray(item[f"{self.image_key}_spacing"], dtype=np.float64)
            item[key] = (spacing / item[f"{self.image_key}_geometry"].scale).astype(np.float32)
        return item


def _check_size(what: str, found: tuple[int, ...], image: str, size: tuple[int, int]) -> None:
    if tuple(found) != tuple(size):
        raise DataError(
            f"{image}: {what} has {found[0]} x {found[1]} pixels, but the image {size[0]} x {size[1]} (rows x columns)"
        )


def _check_boxes(boxes: np.ndarray, labels: np.ndarray, image: str, size: tuple[int, int]) -> None:
    if labels.shape != (len(boxes),):
        raise DataError(f"{image}: it has {len(boxes)} boxes, but {labels.size} labels for them")
    height, width = size
    for x1, y1, x2, y2 in boxes.tolist():
        if not (0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height):
            raise DataError(
                f"{image}: box [{x1:g}, {y1:g}, {x2:g}, {y2:g}] is empty or leaves the image of {width} x {height} "
                "pixels (columns x rows)"
            )
