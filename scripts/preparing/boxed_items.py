"""Items whose boxes are put into their images, of which the files tell the size."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bundle.data.errors import DataError
from scripts.preparing.assigned import Assigned
from scripts.preparing.box_fit import fit_boxes
from scripts.preparing.header_size import header_size
from scripts.preparing.record import Record
from scripts.preparing.threads import in_threads

__all__ = ["read_sizes", "with_fitted_boxes"]


def with_fitted_boxes(assigned: Sequence[Assigned], args: argparse.Namespace) -> list[Assigned]:
    """Read the sizes of images that have boxes, and fit these.

    Args:
        assigned: items with `boxes` as annotated and `box_label`; their files are there.
        args: `root`, `workers` and `record` of the command.

    Returns:
        The items with boxes as the data list needs them, and `size` where there are boxes; without those that can't be
        used.

    Raises:
        DataError: an image can't be read or a box can't be its own, and the record stops at the first.
    """
    boxed = [item for _, item in assigned if item["boxes"]]
    size_of = dict(zip((item["id"] for item in boxed), read_sizes(boxed, args), strict=True))
    fitted: list[Assigned] = []
    for split, item in assigned:
        try:
            size = size_of.get(item["id"])
            if isinstance(size, DataError):
                raise size
            fitted.append((split, _fitted(item, size, args.record) if size else item))
        except DataError as error:
            args.record.reject(f"item {item['id']}", str(error))
    return fitted


def read_sizes(items: Sequence[dict[str, Any]], args: argparse.Namespace) -> list[list[int] | DataError]:
    """The size [H, W] of each item's image from the header of its file, or the error that says why there is none.

    Args:
        items: items with `image` relative to `args.root`.
        args: `root` and `workers` of the command.
    """
    paths = [args.root / item["image"] for item in items]
    return in_threads(_size, paths, args.workers, "reading image sizes", "image")


def _size(path: Path) -> list[int] | DataError:
    try:
        return list(header_size(path))
    except DataError as error:
        return error


def _fitted(item: dict[str, Any], size: list[int], record: Record) -> dict[str, Any]:
    others = {key: value for key, value in item.items() if key not in ("boxes", "box_label")}
    return {**others, **fit_boxes(item["boxes"], item["box_label"], size, record)}
