"""Images of a hospital's own data, opened as far as the options say."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from bundle.data.errors import DataError
from scripts.preparing.header_size import header_size
from scripts.preparing.table_rows import TableRow, decoded, join_persons, with_existing_image
from scripts.preparing.threads import in_threads

__all__ = ["Opened", "opened"]


class Opened(NamedTuple):
    """What is known of the images.

    Attributes:
        rows: those whose image can be used.
        sizes: (H, W) of each; None where images aren't looked for.
        joined: groups of patients that share an image, as the header's `split` keeps them.
    """

    rows: list[TableRow]
    sizes: list[tuple[int, int] | None]
    joined: list[list[str]]


def opened(rows: Sequence[TableRow], root: Path, args: argparse.Namespace) -> Opened:
    """Look at the images of rows: at all pixels, at their headers with `--trust-patients`, not with `--without-images`.

    Args:
        rows: the rows; the items' `image` is relative to `root`. The `group` of those who share an image becomes one.
        root: the folder.
        args: `without_images`, `trust_patients`, `workers` and `record` of the command.

    Raises:
        DataError: an image is missing or can't be used, and the record stops at the first.
    """
    if args.without_images:
        return Opened(list(rows), [None] * len(rows), [])
    there = with_existing_image(rows, root, args.workers, args.record)
    if args.trust_patients:
        return _by_headers(there, root, args)
    kept, small = decoded(there, root, args.workers, args.record)
    return Opened(kept, [thumbnail.size for thumbnail in small], join_persons(kept, small))


def _by_headers(rows: list[TableRow], root: Path, args: argparse.Namespace) -> Opened:
    sizes = in_threads(_size, [root / row.item["image"] for row in rows], args.workers, "reading headers", "image")
    found = Opened([], [], [])
    for row, size in zip(rows, sizes, strict=True):
        if isinstance(size, DataError):
            args.record.reject(row.where, str(size))
        else:
            found.rows.append(row)
            found.sizes.append(size)
    return found


def _size(path: Path) -> tuple[int, int] | DataError:
    try:
        return header_size(path)
    except DataError as error:
        return error
