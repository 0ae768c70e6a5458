"""Outlines of findings as what the stages read: run lengths of all together, and a mask file a class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from bundle.data.errors import DataError
from bundle.handlers.atomic import replacing
from bundle.transforms.annotation_masks import rle_to_mask

__all__ = ["outlines_to_rle", "write_class_masks"]

Polygon = Sequence[Sequence[float]]


def outlines_to_rle(polygons: Sequence[Polygon], size: Sequence[int]) -> list[str]:
    """The union of polygons as run lengths of the SIIM-ACR challenge, which `rle_to_mask` decodes.

    A pixel belongs to a polygon if its centre lies in it or on its edge, as in `polygons_to_mask`. That one asks this
    for each pixel, this for each column where its edges are: some thirty times as fast, which counts for thousands of
    large outlines.

    Args:
        polygons: each [[x, y], ...] in pixels, (0, 0) being the upper left corner; what lies outside is cut off.
        size: [H, W] of the image.

    Returns:
        One code, or none where there is nothing.

    Raises:
        DataError: a polygon isn't at least three points.

    Example:
        >>> outlines_to_rle([[[0, 0], [3, 0], [0, 3]]], [2, 3])
        ['0 5']
    """
    runs = [_runs(polygon, size[0], size[1]) for polygon in polygons]
    merged = _merged(np.concatenate(runs)) if runs else np.zeros((0, 2), dtype=np.int64)
    code = " ".join(map(str, np.diff(merged.ravel(), prepend=0).tolist()))
    return [code] if code else []


def write_class_masks(
    by_class: Mapping[str, Sequence[Polygon]], size: Sequence[int], folder: Path, name: str
) -> dict[str, Path]:
    """Write a mask for each class, as `FOLDER/CLASS/NAME.png` of one bit.

    Args:
        by_class: the polygons of each class that the image shows.
        size: [H, W] of the image.
        folder: folder of all masks; it is made.
        name: name of the image.

    Returns:
        The path of each class's mask.

    Raises:
        DataError: a polygon isn't at least three points.
    """
    paths = {finding: folder / finding.replace(" ", "_") / f"{name}.png" for finding in by_class}
    for finding, polygons in by_class.items():
        mask = rle_to_mask(outlines_to_rle(polygons, size), (size[0], size[1]))
        with replacing(paths[finding]) as partial:
            Image.fromarray(mask).save(partial, format="PNG")
    return paths


def _runs(polygon: Polygon, height: int, width: int) -> np.ndarray:
    """First and last + 1 of a polygon's runs [N, 2], pixels being numbered down the columns."""
    points = np.asarray(polygon, dtype=np.float64)
    if points.ndim != 2 or points.shape[0] < 3 or points.shape[1] != 2:
        raise DataError(f"an outline must be at least three points x, y; this one has the shape {points.shape}")
    x, y = points.T
    next_x, next_y = np.roll(x, -1), np.roll(y, -1)
    centres = np.arange(max(int(x.min()), 0), min(int(x.max()) + 1, width)) + 0.5
    column, edge = np.nonzero((x <= centres[:, None]) != (next_x <= centres[:, None]))
    slope = (next_y[edge] - y[edge]) / (next_x[edge] - x[edge])
    crossing = y[edge] + (centres[column] - x[edge]) * slope
    order = np.lexsort((crossing, column))  # a closed line crosses each column an even number of times
    above, below = crossing[order].reshape(-1, 2).T
    first = np.clip(np.ceil(above - 0.5), 0, height)
    last = np.clip(np.floor(below - 0.5) + 1, 0, height)
    start = (centres[column[order][::2]] - 0.5) * height
    return np.stack([start + first, start + last], axis=1)[last > first].astype(np.int64)


def _merged(runs: np.ndarray) -> np.ndarray:
    """Runs [N, 2] in their order, those that overlap or touch as one."""
    runs = runs[np.argsort(runs[:, 0], kind="stable")]
    reach = np.maximum.accumulate(runs[:, 1])
    begins = np.concatenate([[True], runs[1:, 0] > reach[:-1]]) if len(runs) else np.zeros(0, dtype=bool)
    ends = np.concatenate([begins[1:], [True]]) if len(runs) else begins
    return np.stack([runs[begins, 0], reach[ends]], axis=1)
