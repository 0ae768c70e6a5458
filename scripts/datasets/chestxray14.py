"""NIH ChestX-ray14 (ChestX-ray8): 14 findings of frontal radiographs, and boxes of 8 of them.

Needed under --root: `Data_Entry_2017_v2020.csv` (or `Data_Entry_2017.csv`) and the images, in `images_001/images` to
`images_012/images` or all in `images`. For --split official and ours also `train_val_list.txt` and `test_list.txt`;
for --boxes and --grounding also `BBox_List_2017.csv`.

With --without-images the list names the folders in which the images are officially: the first 4,999 by name in
`images_001`, 10,000 in each that follows. --limit keeps the first N items of each split.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from bundle.data.errors import DataError
from scripts.preparing.official import add_root, declare_leaks, find, image_root, split_evenly, with_subsets
from scripts.preparing.table import read_table
from scripts.releases.nih_boxes import FRAME, BoxesOf, read_boxes

__all__ = ["HELP", "add_arguments", "build"]

HELP = "NIH ChestX-ray14: 14 findings, boxes of 8; official split or by patient"

Item = dict[str, Any]

_PHRASES = {
    "Atelectasis": "atelectasis",
    "Cardiomegaly": "cardiomegaly",
    "Effusion": "pleural effusion",
    "Infiltration": "infiltration",
    "Mass": "lung mass",
    "Nodule": "lung nodule",
    "Pneumonia": "pneumonia",
    "Pneumothorax": "pneumothorax",
}
_BOX_CLASSES = list(_PHRASES)
_CLASSES = [
    *_BOX_CLASSES,
    *("Consolidation", "Edema", "Emphysema", "Fibrosis", "Pleural_Thickening", "Hernia"),
]
_NOTHING = "No Finding"
_COLUMNS = ["Image Index", "Finding Labels", "Patient ID", "View Position"]
_VIEWS = ("PA", "AP")
_FIRST_FOLDER, _OTHER_FOLDERS = 4_999, 10_000
_LISTS = {"training": "train_val_list.txt", "test": "test_list.txt"}
_ALL = {"items": 112_120, "patients": 30_805}
_PUBLISHED = {
    "ours": {**_ALL, "test": 25_596},
    "official": {**_ALL, "training": 86_524, "test": 25_596},
    "patient": _ALL,
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this data set's options."""
    add_root(parser, "Data_Entry_2017_v2020.csv and images_001 to images_012")
    form = parser.add_mutually_exclusive_group()
    form.add_argument(
        "--split",
        choices=tuple(_PUBLISHED),
        default="ours",
        help="ours: official test images, the others 90/10 by patient (default); official: train_val and test as "
        "published, no validation; patient: 70/10/20 by patient, without the official lists and not comparable",
    )
    form.add_argument(
        "--grounding", action="store_true", help="one item an image and finding with boxes and a phrase, all for test"
    )
    parser.add_argument("--boxes", action="store_true", help="add the boxes to the images that have some")


def build(args: argparse.Namespace) -> dict[str, Any]:
    """Make the data list.

    Args:
        args: the options of `add_arguments` and the common ones of `scripts.prepare`.

    Returns:
        The data list; `image_root` is absolute.

    Raises:
        DataError: a file of the release is missing or damaged, or (without `--on-error skip`) an image can't be used.
    """
    entries = find(args.root, "Data_Entry_2017_v2020.csv", "Data_Entry_2017.csv")
    boxes = read_boxes(find(args.root, "BBox_List_2017.csv"), _BOX_CLASSES) if args.boxes or args.grounding else {}
    items = _items(entries, args, only=boxes if args.grounding else None)
    parts = _grounding(items, boxes, args) if args.grounding else _classification(items, boxes, args)
    return {
        "name": "chestxray14",
        "modality": {"0": "CR"},
        "licence": "open (cite Wang et al., CVPR 2017)",
        "source": f"ChestX-ray14, NIH Clinical Center ({entries.name})",
        "image_root": image_root(args.root),
        **parts,
    }


def _classification(items: list[Item], boxes: BoxesOf, args: argparse.Namespace) -> dict[str, Any]:
    items = [{**item, **boxes[item["id"]].annotation()} if item["id"] in boxes else item for item in items]
    about, splits = _split(items, args)
    splits = {name: part[: args.limit] for name, part in splits.items()}
    published = _PUBLISHED[args.split] | ({"boxes": 984} if args.boxes else {})
    parts = {
        "task": "classification",
        "classes": _CLASSES,
        "multilabel": True,
        **({"box_classes": _BOX_CLASSES} if args.boxes else {}),
        "split": about,
        **({} if args.limit else {"published": published}),
        **with_subsets(splits, args.seed),
    }
    return declare_leaks(parts) if args.split == "official" else parts


def _grounding(items: list[Item], boxes: BoxesOf, args: argparse.Namespace) -> dict[str, Any]:
    asked = [
        {
            "id": f"{item['id']}-{number}",
            **{key: item[key] for key in ("image", "patient", "view") if key in item},
            "phrase": _PHRASES[_BOX_CLASSES[number]],
            "phrase_class": number,
            "boxes": of_class,
            "size": FRAME,
        }
        for item in items
        for number, of_class in boxes[item["id"]].by_class().items()
    ]
    return {
        "task": "grounding",
        "classes": _BOX_CLASSES,
        "split": {"method": "all for test", "unit": "image", "leak_checked": True},
        **({} if args.limit else {"published": {"boxes": 984, "images": 880}}),
        "test": asked[: args.limit],
    }


def _items(entries: Path, args: argparse.Namespace, only: Iterable[str] | None) -> list[Item]:
    """The items of the images in the table, or of those whose ids are in `only`."""
    rows = read_table(entries, _COLUMNS)
    paths = _official_paths(rows["Image Index"]) if args.without_images else _found_paths(args.root)
    wanted = None if only is None else set(only)
    labels: dict[str | None, list[int] | None] = {text: _label(text) for text in rows["Finding Labels"].unique()}
    items = []
    for line, (name, text, patient, view) in enumerate(rows.itertuples(index=False, name=None), start=2):
        where = f"{entries.name} line {line} ({name})"
        label = labels[text]
        if name is None or patient is None or label is None:
            known = ", ".join([_NOTHING, *_CLASSES])
            args.record.reject(where, f"it needs an image, a patient and finding labels out of {known}, not '{text}'")
        elif wanted is not None and name.removesuffix(".png") not in wanted:
            continue
        elif name not in paths:
            args.record.reject(where, f"there is no such image in the folders images* under {args.root}")
        else:
            place = {"view": view} if view in _VIEWS else {}
            common = {"id": name.removesuffix(".png"), "image": paths[name], "patient": patient}
            items.append({**common, **place, "label": label})
    return items


def _label(text: str | None) -> list[int] | None:
    """Multi-hot in the order of the classes, None where a label is unknown."""
    findings = set((text or "").split("|"))
    if findings == {_NOTHING}:
        return [0] * len(_CLASSES)
    return [int(name in findings) for name in _CLASSES] if findings <= set(_CLASSES) else None


def _official_paths(names: Iterable[str | None]) -> dict[str, str]:
    """Where the release has its images: 12 folders that are filled in the order of the names."""
    ordered = sorted(name for name in names if name is not None)
    shift = _OTHER_FOLDERS - _FIRST_FOLDER
    return {
        name: f"images_{(position + shift) // _OTHER_FOLDERS + 1:03d}/images/{name}"
        for position, name in enumerate(ordered)
    }


def _found_paths(root: Path) -> dict[str, str]:
    folders = sorted(path for pattern in ("images", "images_*", "images_*/images") for path in root.glob(pattern))
    paths = {
        name: f"{folder.relative_to(root).as_posix()}/{name}"
        for folder in folders
        if folder.is_dir()
        for name in os.listdir(folder)
        if name.endswith(".png")
    }
    if not paths:
        raise DataError(
            f"{root}: --root holds no images in images_001/images and so on, nor in images; unpack them there, or make "
            "the list with --without-images"
        )
    return paths


def _split(items: list[Item], args: argparse.Namespace) -> tuple[dict[str, Any], dict[str, list[Item]]]:
    """What the header says of the split, and the splits."""
    if args.split == "patient":
        about = {"method": "share", "unit": "patient", "ratios": [0.7, 0.1, 0.2], "seed": args.seed}
        return {**about, "leak_checked": True}, split_evenly(items, 0.1, 0.2, args.seed)
    official = _official_split(items, args)
    if args.split == "official":
        return {"method": "official", "unit": "patient", "leak_checked": True}, official
    about = {"method": "official test, the rest by share", "unit": "patient", "ratios": [0.9, 0.1], "seed": args.seed}
    drawn = split_evenly(official["training"], 0.1, 0, args.seed)
    return {**about, "leak_checked": True}, {**drawn, "test": official["test"]}


def _official_split(items: Sequence[Item], args: argparse.Namespace) -> dict[str, list[Item]]:
    split_of = {name: split for split, file in _LISTS.items() for name in _read_list(args.root, file)}
    splits: dict[str, list[Item]] = {split: [] for split in _LISTS}
    for item in items:
        name = f"{item['id']}.png"
        if name in split_of:
            splits[split_of[name]].append(item)
        else:
            args.record.reject(f"image {name}", f"neither {' nor '.join(_LISTS.values())} names it")
    return splits


def _read_list(root: Path, name: str) -> list[str]:
    try:
        path = find(root, name)
    except DataError as error:
        raise DataError(f"{error}; without the official lists only --split patient can be made") from None
    return path.read_text(encoding="utf-8-sig").split()
