"""ChestX-Det: 13 findings in images of ChestX-ray14, with boxes and outlines.

    python -m scripts.prepare chestx_det --root ChestX-Det --out lists/chestx_det
    python -m scripts.prepare chestx_det --root ChestX-Det --out lists/chestx_det --masks

Needed under --root: `ChestX_Det_train.json`, `ChestX_Det_test.json` and the images of `train_data.zip` and
`test_data.zip` in `train_data/` and `test_data/` (or in `train/` and `test/`, there or directly). Its predecessor
ChestX-Det10 has no outlines and is not read.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from tqdm import tqdm

from bundle.data.errors import DataError
from scripts.preparing.assigned import Assigned, as_splits, assign_evenly, describe_published, present
from scripts.preparing.box_fit import fit_boxes
from scripts.preparing.boxed_items import read_sizes
from scripts.preparing.official import add_root, find, image_root
from scripts.preparing.outlines import outlines_to_rle, write_class_masks
from scripts.preparing.record import Record

__all__ = ["HELP", "add_arguments", "build"]

HELP = "ChestX-Det: 13 findings of ChestX-ray14 images, with boxes and outlines"

_CLASSES = [
    *("Atelectasis", "Calcification", "Cardiomegaly", "Consolidation", "Diffuse Nodule", "Effusion", "Emphysema"),
    *("Fibrosis", "Fracture", "Mass", "Nodule", "Pleural Thickening", "Pneumothorax"),
]
_KEYS = ("file_name", "syms", "boxes", "polygons")
_PARTS = ("train", "test")
_SIZE = [1024, 1024]  # of the images of ChestX-ray14, where they aren't there to be asked
_PUBLISHED = {"items": 3578, "images": 3578, "boxes": 9639, "test": 553}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this data set's options."""
    add_root(parser, "ChestX_Det_train.json, ChestX_Det_test.json, train_data/ and test_data/")
    parser.add_argument("--validation", type=float, default=0.1, help="share of train for validation (default: 0.1)")
    parser.add_argument(
        "--masks",
        action="store_true",
        help="also write a mask for each finding of an image under --out, as the items' finding_masks",
    )


def build(args: argparse.Namespace) -> dict[str, Any]:
    """Make the data list.

    Args:
        args: the options of `add_arguments` and the common ones of `scripts.prepare`.

    Returns:
        The data list: each item has a label, boxes, and run lengths of all its findings together; with `--masks` also
        one mask a class, for which `image_root` is the folder that holds both the images and `--out`.

    Raises:
        DataError: a file of the release is missing or (without `--on-error skip`) an image can't be used.
    """
    train, test = (list(_raw_items(part, args)) for part in _PARTS)
    assigned = [*assign_evenly(train, args.validation, 0, args.seed), *(("test", item) for item in test)]
    root = _common_folder(args) if args.masks else args.root
    return {
        "name": "chestx_det",
        "task": "detection",
        "modality": {"0": "CR"},
        "licence": "Apache-2.0 (annotations)",
        "source": "ChestX-Det, Deepwise AI Lab; images of NIH ChestX-ray14",
        "classes": _CLASSES,
        **({} if args.masks else {"mask_classes": ["finding"]}),
        "multilabel": True,
        "image_root": image_root(root),
        "split": {
            "method": "official test, train by share",
            "unit": "image",
            "ratios": [round(1 - args.validation, 6), args.validation],
            "seed": args.seed,
            "leak_checked": False,  # patients are unknown
        },
        **describe_published(args, _PUBLISHED),
        **as_splits(_annotated(present(assigned, args), root, args), args.seed),
    }


def _common_folder(args: argparse.Namespace) -> Path:
    return Path(os.path.commonpath([os.path.abspath(args.root), os.path.abspath(args.out)]))


def _raw_items(part: str, args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Items of a part with the file's own annotations as `raw`."""
    path = find(args.root, f"ChestX_Det_{part}.json")
    folders = (f"{part}_data/{part}", part, f"{part}_data")
    folder = folders[0] if args.without_images else find(args.root, *folders).relative_to(args.root).as_posix()
    seen: set[str] = set()
    for number, entry in enumerate(_entries(path)):
        where = f"{path} entry {number} ({entry.get('file_name')})"
        try:
            _check(entry)
        except DataError as error:
            args.record.reject(where, str(error))
            continue
        name = PurePosixPath(entry["file_name"]).stem
        if name in seen:
            args.record.reject(where, "an earlier entry has the same image")
            continue
        seen.add(name)
        yield {"id": name, "image": f"{folder}/{entry['file_name']}", "raw": entry}


def _entries(path: Path) -> list[dict[str, Any]]:
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: not valid JSON ({error}); if the file was cut off, download it again") from error
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise DataError(f"{path}: it must be a list of objects with {', '.join(_KEYS)}")
    lacking = [key for key in _KEYS if not any(key in entry for entry in entries)]
    if lacking:
        raise DataError(
            f"{path}: its entries have no '{lacking[0]}'; annotations of ChestX-Det have {', '.join(_KEYS)}"
        )
    return entries


def _check(entry: dict[str, Any]) -> None:
    if not all(key in entry for key in _KEYS):
        raise DataError(f"it lacks one of {', '.join(_KEYS)}")
    counts = {len(entry[key]) for key in ("syms", "boxes", "polygons")}
    if len(counts) > 1:
        raise DataError("it has not as many syms as boxes and polygons")
    if unknown := [name for name in entry["syms"] if name not in _CLASSES]:
        raise DataError(f"its finding '{unknown[0]}' is none of {', '.join(_CLASSES)}")


def _annotated(assigned: list[Assigned], root: Path, args: argparse.Namespace) -> list[Assigned]:
    """The items with annotations as the data list has them, paths relative to `root`."""
    if args.without_images:
        sizes: list[list[int] | DataError] = [_SIZE] * len(assigned)
    else:
        sizes = read_sizes([item for _, item in assigned], args)
    done = []
    pairs = zip(assigned, sizes, strict=True)
    for (split, item), size in tqdm(pairs, total=len(sizes), desc="drawing outlines", unit="image", disable=None):
        try:
            if isinstance(size, DataError):
                raise size
            made = _item(item, size, args.record)
            if args.masks:
                made |= _moved(item, size, root, args)
        except DataError as error:
            args.record.reject(f"item {item['id']}", str(error))
        else:
            done.append((split, made))
    return done


def _item(item: dict[str, Any], size: list[int], record: Record) -> dict[str, Any]:
    raw = item["raw"]
    numbers = [_CLASSES.index(name) for name in raw["syms"]]
    return {
        "id": item["id"],
        "image": item["image"],
        "label": [int(number in numbers) for number in range(len(_CLASSES))],
        **fit_boxes(raw["boxes"], numbers, size, record),
        "rle": outlines_to_rle(raw["polygons"], size),
        "size": size,
    }


def _moved(item: dict[str, Any], size: list[int], root: Path, args: argparse.Namespace) -> dict[str, Any]:
    """Image and masks, these written, relative to the folder that holds both."""
    by_class: dict[str, list[Any]] = {}
    for name, polygon in zip(item["raw"]["syms"], item["raw"]["polygons"], strict=True):
        by_class.setdefault(name, []).append(polygon)
    paths = write_class_masks(by_class, size, args.out / "masks", item["id"])
    relative = partial(_relative, root=root)
    masks = {name: relative(path) for name, path in paths.items()}
    return {"image": relative(args.root / item["image"]), "finding_masks": masks}


def _relative(path: Path, root: Path) -> str:
    return Path(os.path.relpath(path, root)).as_posix()
