"""From a network's logits on the fitted square back to the pixels, and the axes, of the original image."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from typing import Any

import cv2
import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform
from monai.utils import convert_to_numpy

from bundle.data.nifti_geometry import nifti_header, projection_affine
from bundle.transforms.geometry import Geometry

__all__ = ["FileAxesd", "RestoreLabelMapd", "label_map", "restore_probabilities"]

_ONE = 65535  # probabilities of every pixel are held in 16 bits: half the memory, half the time
_HALF = 32767


class RestoreLabelMapd(MapTransform):
    """Replaces logits by the label map of the original image: numpy uint8 [H, W], 0 where no class is likely.

    The probabilities of the classes are brought to the original's pixels first and compared there, so that outlines
    are as smooth as the original is fine. What a black border was is background.

    Args:
        keys: keys of logits [1 + K, S, S] of which channel 0 is the background's, as `LabelSegmenter` gives them.
        image_key: key of the image, whose `{image_key}_geometry` `FitRadiographd` has left.
        probabilities: whether float32 [K, H, W] are put under `{key}_probabilities`.

    Example:
        >>> item = {"pred": logits, "image_geometry": geometry}
        >>> RestoreLabelMapd("pred")(item)["pred"].shape == geometry.size  # doctest: +SKIP
        True
    """

    def __init__(self, keys: KeysCollection = "pred", image_key: str = "image", probabilities: bool = False) -> None:
        super().__init__(keys)
        self.image_key = image_key
        self.probabilities = probabilities

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        item = dict(data)
        geometry = Geometry(*item[f"{self.image_key}_geometry"])
        for key in self.key_iterator(item):
            shown = restore_probabilities(_class_probabilities(item[key]), geometry)
            whole = np.zeros(geometry.size, dtype=np.uint8)
            label_map(shown, out=_shown_part(whole, geometry))
            item[key] = whole
            if self.probabilities:
                item[f"{key}_probabilities"] = _in_whole(shown, geometry).astype(np.float32) / _ONE
        return item


class FileAxesd(MapTransform):
    """Turns label maps into the axes of image files as ITK and MONAI have them, with what MONAI Label writes them by.

    There the first axis runs right and the second down: numpy [W, H]. An image whose file tells where its pixels lie
    gets a third axis of one slice, [W, H, 1], and its affine, which is put under `{image_key}_meta_dict`: that of the
    file for NIfTI of one slice, and `projection_affine` of the spacing for DICOM.

    Args:
        keys: keys of label maps [H, W].
        image_key: key of the image, whose path and spacing `LoadRadiographd` has left under `{image_key}_path` and
            `{image_key}_spacing`.
    """

    def __init__(self, keys: KeysCollection = "pred", image_key: str = "image") -> None:
        super().__init__(keys)
        self.image_key = image_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        item = dict(data)
        slices, affine = self._place(item)
        if affine is not None:
            item[f"{self.image_key}_meta_dict"] = {"affine": affine, "original_affine": affine}
        for key in self.key_iterator(item):
            item[key] = item[key].T.reshape(*item[key].shape[::-1], *slices)
        return item

    def _place(self, item: Mapping[Hashable, Any]) -> tuple[tuple[int, ...], np.ndarray | None]:
        """Axes of one slice behind the first two, and the affine of those that have any."""
        header = nifti_header(item[f"{self.image_key}_path"])
        if header is not None:
            slices = header.get_data_shape()[2:]
            return slices, header.get_best_affine() if slices else None
        rows, columns = (float(side) for side in item[f"{self.image_key}_spacing"])
        return ((), None) if math.isnan(rows) else ((1,), projection_affine((rows, columns)))


def restore_probabilities(probabilities: np.ndarray, geometry: Geometry) -> np.ndarray:
    """Brings maps of the square to the pixels of the part of the original that it shows, linearly between pixels.

    Args:
        probabilities: float32 [K, S, S] in [0, 1].
        geometry: how the original lies in the square.

    Returns:
        uint16 [K, h, w], of the size of `geometry.box`; 65535 is 1.
    """
    top, left, bottom, right = geometry.content
    first, start, last, end = geometry.box
    shown = np.rint(probabilities[:, top:bottom, left:right] * _ONE).astype(np.uint16)
    restored = np.empty((len(shown), last - first, end - start), dtype=np.uint16)
    for values, target in zip(shown, restored, strict=True):
        cv2.resize(values, target.shape[::-1], dst=target, interpolation=cv2.INTER_LINEAR)
    return restored


def label_map(probabilities: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """The number of the likeliest class, counted from 1, where one is likelier than not; else 0.

    Args:
        probabilities: uint16 [K, H, W]; 65535 is 1.
        out: uint8 [H, W] to write to; None: a new one.

    Returns:
        uint8 [H, W], `out` if it was given.

    Example:
        >>> label_map(np.array([[[30000, 40000]], [[20000, 60000]]], dtype=np.uint16)).tolist()
        [[0, 2]]
    """
    made = np.empty(probabilities.shape[1:], dtype=np.uint8) if out is None else out
    several = len(probabilities) > 1
    np.greater(probabilities.max(0) if several else probabilities[0], _HALF, out=made.view(bool))
    if several:
        made *= (probabilities.argmax(0) + 1).astype(np.uint8)
    return made


def _class_probabilities(logits: Any) -> np.ndarray:
    classes = torch.as_tensor(convert_to_numpy(logits[1:]))
    return torch.sigmoid(classes.float()).numpy()


def _in_whole(part: np.ndarray, geometry: Geometry) -> np.ndarray:
    """Maps [..., h, w] of the shown part in the whole original [..., H, W], which is 0 elsewhere."""
    whole = np.zeros((*part.shape[:-2], *geometry.size), dtype=part.dtype)
    _shown_part(whole, geometry)[...] = part
    return whole


def _shown_part(whole: np.ndarray, geometry: Geometry) -> np.ndarray:
    """View on what is shown of maps [..., H, W]."""
    top, left, bottom, right = geometry.box
    return whole[..., top:bottom, left:right]
