"""Copies of a data list's files beside the list, so that the folder can be taken elsewhere as it is."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from bundle.data.datalist_form import each_item
from bundle.data.errors import DataError
from bundle.handlers.atomic import replacing
from scripts.preparing.item_files import item_files
from scripts.preparing.threads import in_threads

__all__ = ["copy_files"]

_FOLDER = "images"


def copy_files(datalist: Mapping[str, Any], out: Path, workers: int) -> dict[str, Any]:
    """Copy images and masks into `out/images`, with their paths below the list's `image_root`.

    What is there with the same size is not copied again, so that a copy that was stopped goes on. Files of lists whose
    `image_root` is relative lie beside the list already.

    Args:
        datalist: the list; not changed.
        out: folder of the list.
        workers: threads that copy.

    Returns:
        The list with `image_root` `images`.

    Raises:
        DataError: a file isn't there, or the disk has no room for all of them.
    """
    root = datalist.get("image_root", ".")
    if not os.path.isabs(root):
        print(f"nothing was copied: the files lie beside the list already, in {out / root}")
        return dict(datalist)
    item_of = {file.path: item["id"] for item in each_item(datalist) for file in item_files(item)}
    paths, target = list(item_of), out / _FOLDER
    look = partial(_bytes_to_copy, source=Path(root), target=target)
    sizes = in_threads(look, paths, workers, "looking for files")
    for path, size in zip(paths, sizes, strict=True):
        if size is None:
            raise DataError(f"item {item_of[path]}: there is no file {Path(root) / path}, which --copy needs")
    wanted = [path for path, size in zip(paths, sizes, strict=True) if size]
    _check_room(out, sum(size or 0 for size in sizes))
    in_threads(partial(_copy, source=Path(root), target=target), wanted, workers, "copying")
    print(f"copied {len(wanted)} files into {target}; {len(paths) - len(wanted)} were there already")
    return {**datalist, "image_root": _FOLDER}


def _bytes_to_copy(path: str, source: Path, target: Path) -> int | None:
    """Size of a file that is to be copied, 0 for one that was, None for one that isn't there."""
    try:
        size = (source / path).stat().st_size
    except OSError:
        return None
    try:
        return 0 if (target / path).stat().st_size == size else size
    except OSError:
        return size


def _copy(path: str, source: Path, target: Path) -> None:
    with replacing(target / path) as partial_copy:
        shutil.copyfile(source / path, partial_copy)


def _check_room(folder: Path, needed: int) -> None:
    while not folder.exists():
        folder = folder.absolute().parent
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise DataError(f"{folder}: the copies need {needed / 1e9:.1f} GB, but {free / 1e9:.1f} GB are free")
