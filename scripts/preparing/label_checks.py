"""Whether what a row says of its image agrees with the image: masks and the size that boxes were drawn on."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from tqdm import tqdm

from bundle.data.errors import DataError
from bundle.data.mask_reader import read_mask, split_classes
from scripts.preparing.record import Record
from scripts.preparing.table_rows import TableRow

__all__ = ["agreeing"]


def agreeing(
    rows: Sequence[TableRow],
    sizes: Sequence[tuple[int, int]],
    root: Path,
    mask_classes: Sequence[str],
    workers: int,
    record: Record,
) -> list[bool]:
    """Compare masks and boxes with their images, and note each image's size in its item.

    Args:
        rows: the rows; their items get `size`.
        sizes: (H, W) of each image.
        root: folder that mask paths are relative to.
        mask_classes: names of the classes that masks hold.
        workers: threads that decode masks.
        record: takes the rows that disagree.

    Returns:
        For each row whether it agrees.

    Raises:
        DataError: a row disagrees and `record` stops at the first.
    """
    with ThreadPoolExecutor(workers) as pool:
        reasons = pool.map(partial(_disagreement, root=root, mask_classes=mask_classes), rows, sizes)
        found = list(tqdm(reasons, total=len(rows), desc="checking labels", unit="image", disable=None))
    for row, size, reason in zip(rows, sizes, found, strict=True):
        row.item["size"] = list(size)
        if reason is not None:
            record.reject(row.where, reason)
    return [reason is None for reason in found]


def _disagreement(row: TableRow, size: tuple[int, int], root: Path, mask_classes: Sequence[str]) -> str | None:
    shown = f"the image {size[0]} x {size[1]} (rows x columns)"
    drawn_on = row.item.get("size", size)
    if tuple(drawn_on) != size:
        return f"its boxes were drawn on {drawn_on[0]} x {drawn_on[1]} pixels, but {shown}"
    masks = [(row.item["mask"], mask_classes)] if "mask" in row.item else []
    masks += [(path, [name]) for name, path in row.item.get("finding_masks", {}).items()]
    for name, classes in masks:
        path = root / name
        try:
            values = read_mask(path)
            split_classes(values, classes, path)
        except DataError as error:
            return str(error)
        if values.shape != size:
            return f"the mask {path} has {values.shape[0]} x {values.shape[1]} pixels, but {shown}"
    return None
