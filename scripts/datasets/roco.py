"""ROCO: radiology figures of open-access papers with their captions.

Needed under --root, the folder `data` of the official repository: `train/radiology/captions.txt`, the same under
`validation` (or `val`) and `test`, each line an id, a tab and a caption; and the figures that the repository's script
fetches, `images/ROCO_00001.jpg` beside each captions.txt.

    python -m scripts.prepare roco --root /data/roco-dataset/data --out lists/roco --on-error skip
    python -m scripts.prepare roco --root /data/roco-dataset/data --out lists/roco_m3ae --split m3ae --on-error skip
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path
from typing import Any

from bundle.data.errors import DataError
from scripts.preparing.official import add_root, declare_leaks, find, image_root, with_images, with_subsets

__all__ = ["HELP", "add_arguments", "build"]

HELP = "ROCO: radiology figures of papers with captions"

_FOLDERS = {"training": ("train",), "validation": ("validation", "val"), "test": ("test",)}
_PUBLISHED = {"validation": 8180, "test": 8179}
_POOL = 2000
_POOL_WORDS = 3
_POOL_SEED = 42

Item = dict[str, Any]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this data set's options."""
    add_root(parser, "train, validation and test")
    parser.add_argument(
        "--min-words", type=int, default=1, metavar="N", help="leave captions with fewer words out (default: 1)"
    )
    parser.add_argument(
        "--split",
        choices=("official", "m3ae"),
        default="official",
        help=f"official: all of it; m3ae: validation and test are M3AE's retrieval pools of {_POOL} captions of "
        f"{_POOL_WORDS} words or more (default: official)",
    )


def build(args: argparse.Namespace) -> dict[str, Any]:
    """Make the data list of all figures with a caption.

    Args:
        args: the options of `add_arguments` and the common ones of `scripts.prepare`.

    Returns:
        The data list; `image_root` is absolute. Items have `text`, a list of one caption, and `group`, their id.

    Raises:
        DataError: a file is missing or has another form, or (without `--on-error skip`) a figure is missing.
    """
    captions = {split: _captions_file(args.root, names) for split, names in _FOLDERS.items()}
    lines = {split: _read_lines(path) for split, path in captions.items()}
    if args.split == "m3ae":
        lines = _in_drawn_order(lines)
    splits = {split: _items(lines[split], captions[split], split, args) for split in lines}
    splits = {split: with_images(items[: args.limit], args.root, args) for split, items in splits.items()}
    return declare_leaks(
        {
            "name": "roco",
            "task": "pretrain",
            "modality": {"0": "OT"},
            "licence": "each figure its own, of its open-access paper; the release lists them",
            "source": "ROCO, Radiology Objects in COntext",
            "image_root": image_root(args.root),
            **({"limit": args.limit} if args.limit else {"published": _PUBLISHED}),
            "split": _describe_split(args),
            **with_subsets(splits, args.seed),
        }
    )


def _captions_file(root: Path, names: tuple[str, ...]) -> Path:
    return find(root, *(f"{name}/radiology/captions.txt" for name in names))


def _read_lines(path: Path) -> list[str]:
    """The lines with anything in them, each checked to have an id and a tab."""
    try:
        lines = [line for line in path.read_text(encoding="utf-8-sig").split("\n") if line.strip()]
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: it isn't UTF-8 text") from error
    for number, line in enumerate(lines, start=1):
        name, tab, _ = line.partition("\t")
        if not tab or not name.strip():
            raise DataError(
                f"{path}: line {number} isn't an id, a tab and a caption; the file has another form or was cut off"
            )
    if not lines:
        raise DataError(f"{path}: there is no caption in it")
    return lines


def _in_drawn_order(lines: dict[str, list[str]]) -> dict[str, list[str]]:
    """M3AE's order: one generator shuffles the files one after the other, so that a pool depends on those before it."""
    draw = random.Random(_POOL_SEED)
    drawn = {split: list(found) for split, found in lines.items()}
    for found in drawn.values():
        draw.shuffle(found)
    return drawn


def _items(lines: list[str], captions: Path, split: str, args: argparse.Namespace) -> list[Item]:
    folder = captions.parent.relative_to(args.root).as_posix()
    min_words = _POOL_WORDS if args.split == "m3ae" else max(1, args.min_words)
    items = []
    for line in lines:
        name, _, caption = line.partition("\t")
        words = caption.split()
        if len(words) < min_words:
            args.record.drop(f"{split} caption of fewer than {min_words} words")
            continue
        name = name.strip()
        image = f"{folder}/images/{name}.jpg"
        items.append({"id": name, "image": image, "text": [" ".join(words)], "group": name})
    if args.split == "m3ae" and split != "training":
        args.record.drop(f"{split} caption outside the pool", max(0, len(items) - _POOL))
        return items[:_POOL]
    return items


def _describe_split(args: argparse.Namespace) -> dict[str, Any]:
    pools = {"pool": _POOL, "seed": _POOL_SEED} if args.split == "m3ae" else {}
    return {"method": args.split, "unit": "image", **pools, "leak_checked": False}
