"""One person under two names: found by the same image under different patients, kept in one split."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from tqdm import tqdm

from bundle.data.errors import DataError
from bundle.data.radiograph_reader import read_radiograph

__all__ = ["Thumbnail", "join_groups", "same_images", "thumbnails"]

_SIDE = 32
_BLOCK = 256
_SAME = 0.998
"""Correlation of thumbnails above which two files hold the same image. Copies that were compressed anew reach 0.9999;
neighbouring days of one patient stay below 0.985."""


class Thumbnail(NamedTuple):
    """What is kept of an image.

    Attributes:
        vector: float32 [1024] of mean 0 and length 1; the product of two is the correlation of the images.
        size: (H, W) of the original image.
    """

    vector: NDArray[np.float32]
    size: tuple[int, int]


def thumbnails(paths: Sequence[str | Path], workers: int) -> list[Thumbnail | DataError]:
    """Reduce images to vectors whose product is their correlation.

    Args:
        paths: the image files.
        workers: threads that read.

    Returns:
        For each file its thumbnail, or the error for a file that can't be read.
    """
    with ThreadPoolExecutor(workers) as pool:
        found = pool.map(_thumbnail, paths)
        return list(tqdm(found, total=len(paths), desc="comparing images", unit="image", disable=None))


def same_images(vectors: Sequence[NDArray[np.float32]]) -> list[tuple[int, int]]:
    """Find the pairs of the same image, also where it was resized or compressed anew.

    Args:
        vectors: the thumbnail of each image.

    Returns:
        Pairs (i, j) of positions with i < j.
    """
    if not vectors:
        return []
    stacked = np.stack(vectors)
    pairs = []
    for start in range(0, len(stacked), _BLOCK):
        alike = np.triu(stacked[start : start + _BLOCK] @ stacked[start:].T > _SAME, k=1)
        pairs += [(start + int(i), start + int(j)) for i, j in np.argwhere(alike)]
    return pairs


def join_groups(groups: Sequence[str], pairs: Sequence[tuple[int, int]]) -> tuple[list[str], list[list[str]]]:
    """Give groups that share an image one name.

    Args:
        groups: the group (patient) of each item.
        pairs: positions of items with the same image.

    Returns:
        The group of each item, the first name in alphabetical order standing for all that are joined; and the joined
        groups, each a sorted list of two names or more.

    Example:
        >>> join_groups(["97", "178", "5"], [(0, 1)])
        (['178', '178', '5'], [['178', '97']])
    """
    names = sorted(set(groups))
    number = {name: index for index, name in enumerate(names)}
    rows = [number[groups[i]] for i, _ in pairs]
    columns = [number[groups[j]] for _, j in pairs]
    links = coo_array((np.ones(len(pairs)), (rows, columns)), shape=(len(names), len(names)))
    _, component = connected_components(links, directed=False)
    members: dict[int, list[str]] = {}
    for name, index in zip(names, component, strict=True):
        members.setdefault(int(index), []).append(name)
    canonical = {name: group[0] for group in members.values() for name in group}
    return [canonical[group] for group in groups], [group for group in members.values() if len(group) > 1]


def _thumbnail(path: str | Path) -> Thumbnail | DataError:
    try:
        radiograph = read_radiograph(path, draft=2 * _SIDE)
    except DataError as error:
        return error
    small = cv2.resize(radiograph.pixels, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).astype(np.float32).ravel()
    centred = small - small.mean()
    return Thumbnail(centred / max(float(np.linalg.norm(centred)), 1e-6), radiograph.size)
