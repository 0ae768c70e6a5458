"""Outlines of a COCO file as masks, and their files."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from bundle.data.errors import DataError
from bundle.handlers.atomic import replacing
from bundle.transforms.annotation_masks import polygons_to_mask
from scripts.preparing.coco import BoxedImage

__all__ = ["draw_outline_masks", "outline_to_mask", "write_outline_masks"]

_INSIDE = 255


def outline_to_mask(outline: Any, size: tuple[int, int]) -> np.ndarray:
    """Draw one `segmentation` of a COCO file.

    Args:
        outline: a list of polygons [x, y, x, y, ...], or run lengths `{"counts": ..., "size": [H, W]}` down the
            columns, beginning with what lies outside: a list of numbers, or the text that COCO's own tools write.
        size: (H, W) of the image.

    Returns:
        bool [H, W].

    Raises:
        DataError: it is neither, or of another size.

    Example:
        >>> outline_to_mask({"counts": [1, 2, 3], "size": [2, 3]}, (2, 3)).astype(int).tolist()
        [[0, 1, 0], [1, 0, 0]]
    """
    if isinstance(outline, list):
        try:
            return polygons_to_mask(outline, size)
        except (TypeError, ValueError) as error:
            raise DataError(f"a segmentation is no list of polygons ({error})") from error
    if not isinstance(outline, Mapping) or not {"counts", "size"} <= outline.keys():
        raise DataError("a segmentation is neither a list of polygons nor run lengths with 'counts' and 'size'")
    if outline["size"] != list(size):
        raise DataError(f"a segmentation was drawn on {outline['size']} pixels, but the image has {list(size)}")
    counts = outline["counts"]
    runs = _decompressed(counts) if isinstance(counts, str) else counts
    if not isinstance(runs, list) or not all(isinstance(run, int) for run in runs):
        raise DataError("the run lengths of a segmentation are no list of whole numbers")
    if min(runs, default=0) < 0 or sum(runs) != size[0] * size[1]:
        raise DataError(f"the run lengths of a segmentation don't fill the image of {size[0]} x {size[1]} pixels")
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(size[::-1]).T


def draw_outline_masks(boxed: BoxedImage) -> dict[int, np.ndarray]:
    """The masks of an image by number of the class, each the union of its outlines.

    Args:
        boxed: an image all of whose boxes have outlines.

    Returns:
        bool [H, W] for each class that occurs.

    Raises:
        DataError: an outline can't be read.
    """
    height, width = boxed.size
    masks: dict[int, np.ndarray] = {}
    for label, outline in zip(boxed.labels, boxed.outlines, strict=True):
        mask = outline_to_mask(outline, (height, width))
        masks[label] = masks[label] | mask if label in masks else mask
    return masks


def write_outline_masks(boxed: BoxedImage, name: str, classes: Sequence[str], folder: Path) -> dict[str, str]:
    """Write the masks of an image as PNG files, 255 inside, one a class that occurs.

    Args:
        boxed: an image all of whose boxes have outlines.
        name: the image's path, from which those of the masks are made.
        classes: the names of all classes.
        folder: where the files go.

    Returns:
        From class to the file's path in `folder`, with forward slashes.

    Raises:
        DataError: an outline can't be read.
    """
    paths = {}
    for label, mask in sorted(draw_outline_masks(boxed).items()):
        # The number tells names apart that differ only in what no file may be called; the image's suffix stays, since
        # a.png and a.jpg may be two images.
        path = f"{label}_{re.sub(r'[^0-9A-Za-z]+', '_', classes[label])}/{name}.png"
        with replacing(folder / path) as partial:
            Image.fromarray(mask.astype(np.uint8) * _INSIDE).save(partial)
        paths[classes[label]] = path
    return paths


def _decompressed(text: str) -> list[int]:
    """The numbers in COCO's text of run lengths: 5 bits a letter, lowest first; from the fourth on, differences."""
    numbers: list[int] = []
    value = shift = 0
    for letter in text.encode():
        bits = letter - 48
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:  # more letters follow
            continue
        value -= (1 << shift) if bits & 16 else 0  # the last letter holds the sign
        numbers.append(value + (numbers[-2] if len(numbers) > 2 else 0))
        value = shift = 0
    if shift or not all(48 <= letter < 112 for letter in text.encode()):
        raise DataError("the run lengths of a segmentation are cut off or no text of COCO's tools")
    return numbers
