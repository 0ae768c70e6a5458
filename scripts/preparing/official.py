"""What builders of official downloads share: the folder as it unpacks, the images in it, splits and their leaks."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tqdm import tqdm

from bundle.data.errors import DataError
from bundle.data.leaks import find_leaks
from scripts.preparing.group_splits import split_by_key
from scripts.preparing.record import Record
from scripts.preparing.table_rows import with_subsets

__all__ = [
    "add_root",
    "declare_leaks",
    "find",
    "image_root",
    "person_of",
    "split_evenly",
    "with_images",
    "with_subsets",
]

Item = dict[str, Any]

_SHOWN = 8


def add_root(parser: argparse.ArgumentParser, holds: str) -> None:
    """Add `--root` and `--without-images`, the options of every official download.

    Args:
        parser: the data set's.
        holds: what the folder holds, for the help text.
    """
    parser.add_argument("--root", type=Path, required=True, metavar="DIR", help=f"folder that holds {holds}")
    parser.add_argument(
        "--without-images",
        action="store_true",
        help="don't look for image files: for a list that is made before the images are there",
    )


def image_root(root: Path) -> str:
    """The header's `image_root`: the folder's absolute path with forward slashes."""
    return Path(os.path.abspath(root)).as_posix()


def find(root: Path, *names: str) -> Path:
    """The first of these files or folders that is there.

    Args:
        root: the folder that the user named.
        names: paths relative to it, the usual name first, then those of other releases.

    Raises:
        DataError: none is there; the message says what was expected and what the folder holds.
    """
    for name in names:
        if (root / name).exists():
            return root / name
    if not root.is_dir():
        raise DataError(f"{root}: there is no such folder; --root must hold {names[0]}")
    expected = f"neither {' nor '.join(names)}" if len(names) > 1 else f"no {names[0]}"
    there = sorted(entry.name for entry in os.scandir(root))
    held = ", ".join(there[:_SHOWN]) + (f" and {len(there) - _SHOWN} more" if len(there) > _SHOWN else "")
    raise DataError(f"{root}: --root holds {expected}, but {held or 'nothing'}")


def with_images(items: Sequence[Item], root: Path, args: argparse.Namespace) -> list[Item]:
    """Leave out items whose image (or mask) isn't there; with `--without-images` nothing is looked for.

    Args:
        items: items with paths relative to `root`.
        root: the folder.
        args: `without_images`, `workers` and `record` of the command.

    Raises:
        DataError: a file is missing and the record stops at the first.
    """
    if args.without_images:
        return list(items)
    paths = [root / item[key] for item in items for key in ("image", "mask") if key in item]
    with ThreadPoolExecutor(args.workers) as pool:
        exist = pool.map(os.path.isfile, paths, chunksize=256)
        found = list(tqdm(exist, total=len(paths), desc="looking for files", unit="file", disable=None))
    there = dict(zip(paths, found, strict=True))
    return [item for item in items if _is_there(item, root, there, args.record)]


def _is_there(item: Item, root: Path, there: Mapping[Path, bool], record: Record) -> bool:
    for key in ("image", "mask"):
        if key in item and not there[root / item[key]]:
            record.reject(f"item {item['id']}", f"there is no {key} file {root / item[key]}")
            return False
    return True


def split_evenly(items: Iterable[Item], validation: float, test: float, seed: int) -> dict[str, list[Item]]:
    """Draw splits by patient, or by image where items name no patient; see `bundle.data.splits.split_by_group`."""
    items = list(items)
    return split_by_key(items, [person_of(item) for item in items], validation, test, seed)


def person_of(item: Item) -> str:
    """What must not be in two splits: an item's patient, or its image where it names none."""
    return str(item.get("patient", item["image"]))


def declare_leaks(datalist: Mapping[str, Any]) -> dict[str, Any]:
    """Write into the header what a published split shares between its parts, and say so.

    For splits that are taken as published only: those that we draw share nothing, and a list that does is refused.

    Returns:
        The list; its `split` has `leaks`, empty where there are none.
    """
    leaks = find_leaks(datalist)
    for pair, counts in leaks.items():
        shared = " and ".join(f"{count} {kind}" for kind, count in counts.items() if count)
        print(f"warning: {pair.replace('-', ' and ')} of this published split share {shared}")
    return {**datalist, "split": {**datalist["split"], "leaks": leaks}}
