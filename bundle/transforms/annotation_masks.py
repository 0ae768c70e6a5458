"""Run lengths, boxes and polygons as masks."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from skimage.draw import polygon as polygon_pixels

from bundle.data.errors import DataError

__all__ = ["boxes_to_mask", "polygons_to_mask", "rle_to_mask"]


def rle_to_mask(rle: Sequence[str], size: tuple[int, int]) -> np.ndarray:
    """Decodes run lengths as the SIIM-ACR pneumothorax challenge writes them.

    A code is pairs "offset length"; an offset counts from the end of the run before, the first from pixel 0; pixels are
    numbered down the columns, the left column first. Several codes are a union, as several rows of one image are.

    Args:
        rle: the codes; none at all is an empty mask.
        size: (H, W) of the mask.

    Returns:
        bool [H, W].

    Raises:
        DataError: a code isn't pairs of whole numbers from 0, or a run passes the end of the image.

    Example:
        >>> rle_to_mask(["1 2 1 1"], (2, 3)).astype(int).tolist()
        [[0, 1, 1], [1, 0, 0]]
    """
    height, width = size
    edges = np.zeros(height * width + 1, dtype=np.int64)
    for code in rle:
        runs = _runs(code)
        ends = runs.sum(1).cumsum()
        if len(ends) and ends[-1] > height * width:
            raise DataError(f"run lengths reach pixel {ends[-1]} of an image of {width} x {height} pixels")
        np.add.at(edges, ends - runs[:, 1], 1)
        np.add.at(edges, ends, -1)
    return (edges[:-1].cumsum() > 0).reshape(width, height).T


def boxes_to_mask(boxes: ArrayLike, size: tuple[int, int]) -> np.ndarray:
    """Fills boxes; a pixel belongs to a box if its centre does.

    Args:
        boxes: [N, 4] xyxy in pixels, half-open, whole numbers or not.
        size: (H, W) of the mask.

    Returns:
        bool [H, W], the union.

    Example:
        >>> boxes_to_mask([[0.6, 0, 2.4, 1]], (2, 3)).astype(int).tolist()
        [[0, 1, 0], [0, 0, 0]]
    """
    mask = np.zeros(size, dtype=bool)
    for corners in np.asarray(boxes, dtype=np.float64).reshape(-1, 4):
        left, top, right, bottom = (max(math.ceil(corner - 0.5), 0) for corner in corners)
        mask[top:bottom, left:right] = True
    return mask


def polygons_to_mask(polygons: Sequence[ArrayLike], size: tuple[int, int]) -> np.ndarray:
    """Fills polygons; a pixel belongs to a polygon if its centre lies in it or on its edge.

    Args:
        polygons: each [[x, y], ...], or flat [x, y, x, y, ...] as COCO has it, in pixels, (0, 0) being the upper left
            corner of the upper left pixel. What lies outside of the image is cut off.
        size: (H, W) of the mask.

    Returns:
        bool [H, W], the union.

    Raises:
        DataError: a polygon isn't at least three points.

    Example:
        >>> polygons_to_mask([[[0, 0], [3, 0], [0, 3]]], (2, 3)).astype(int).tolist()
        [[1, 1, 1], [1, 1, 0]]
    """
    mask = np.zeros(size, dtype=bool)
    for polygon in polygons:
        points = np.asarray(polygon, dtype=np.float64).ravel()
        if points.size % 2 or points.size < 6:
            raise DataError(f"a polygon needs at least three points x, y; this one has {points.size} numbers")
        x, y = points.reshape(-1, 2).T - 0.5  # scikit-image puts the pixels' centres at whole numbers
        mask[polygon_pixels(y, x, size)] = True
    return mask


def _runs(code: str) -> np.ndarray:
    """Pairs (offset, length) [N, 2] of a code."""
    try:
        numbers = np.array([int(number) for number in code.split()], dtype=np.int64)
    except (ValueError, OverflowError):
        raise DataError(f"run lengths '{code[:40]}' hold something other than whole numbers") from None
    if len(numbers) % 2 or (numbers < 0).any():
        raise DataError(f"run lengths '{code[:40]}' are no pairs of a non-negative offset and length")
    return numbers.reshape(-1, 2)
