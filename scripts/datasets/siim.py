"""SIIM-ACR Pneumothorax Segmentation: run lengths of stage 1 or 2 and the DICOM folders.

    python -m scripts.prepare siim --root siim-acr-pneumothorax-segmentation --out lists/siim

Needed under --root: `stage_2_train.csv` (or, for stage 1, `train-rle.csv`) and the DICOM files as
`dicom-images-train/STUDY/SERIES/ID.dcm`; for stage 2 also `dicom-images-test/`, since its table includes the test
images of stage 1.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bundle.data.errors import DataError
from bundle.data.splits import split_by_group
from scripts.preparing.assigned import Assigned, as_splits, describe_published, present
from scripts.preparing.drawn_splits import draw_splits
from scripts.preparing.official import add_root, declare_leaks, find, image_root
from scripts.preparing.record import Record
from scripts.preparing.rle import checked_rle
from scripts.preparing.split_lists import add_lists, assign_listed, check_lists
from scripts.preparing.table import read_table

__all__ = ["HELP", "add_arguments", "build"]

HELP = "SIIM-ACR Pneumothorax (Kaggle): pneumothorax or not, with run-length masks"

_TABLES = {1: "train-rle.csv", 2: "stage_2_train.csv"}
_TRAIN, _TEST = "dicom-images-train", "dicom-images-test"
_SIZE = [1024, 1024]  # of every image
_NEGATIVE = "-1"
_IMAGES = {1: 10675, 2: 12047}
_OURS = {"training": 8433, "validation": 1807, "test": 1807}
_OFFICIAL = {"training": 9303, "validation": 1372, "test": 1372}

Codes = dict[str, list[str]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this data set's options."""
    add_root(parser, f"{_TABLES[2]} or {_TABLES[1]}, {_TRAIN}/ and {_TEST}/")
    parser.add_argument("--stage", type=int, choices=(1, 2), help="whose table to read (default: 2 if it is there)")
    parser.add_argument(
        "--split",
        choices=("ours", "official", "mgca", "lists"),
        default="ours",
        help="ours: 70/15/15 by image with --seed; official: the test images of stage 1 as test (needs stage 2); mgca: "
        "70/15/15 by row as in the code of GLoRIA and MGCA, which puts images into several splits; lists: files in "
        "--lists (default: ours)",
    )
    add_lists(parser)


def build(args: argparse.Namespace) -> dict[str, Any]:
    """Make the data list.

    Args:
        args: the options of `add_arguments` and the common ones of `scripts.prepare`.

    Returns:
        The data list; each item has its run lengths (`rle`, none where there is no pneumothorax) and a label.

    Raises:
        DataError: a file of the release is missing or (without `--on-error skip`) an image can't be used.
    """
    check_lists(args)
    if args.without_images:
        raise DataError("siim can't be listed --without-images: only the folders tell the path of an image")
    table = find(args.root, *([_TABLES[args.stage]] if args.stage else [_TABLES[2], _TABLES[1]]))
    stage = 2 if table.name == _TABLES[2] else 1
    rows = read_table(table, ["ImageId", "EncodedPixels"])
    pairs = list(zip(rows["ImageId"], rows["EncodedPixels"], strict=True))
    assigned, split, counts = _assign(pairs, _Images(args.root, table.name, args.record), stage, args)
    datalist = {
        "name": f"siim_pneumothorax_stage_{stage}",
        "task": "segmentation",
        "modality": {"0": "CR"},
        "licence": "rules of the SIIM-ACR Pneumothorax Segmentation challenge (Kaggle)",
        "source": f"SIIM-ACR Pneumothorax Segmentation, Kaggle 2019, stage {stage}",
        "classes": ["pneumothorax"],
        "multilabel": True,
        "image_root": image_root(args.root),
        "split": {**split, "leak_checked": False},  # patients are unknown
        **describe_published(args, counts),
        **as_splits(present(assigned, args), args.seed),
    }
    return declare_leaks(datalist) if args.split in ("mgca", "lists") else datalist


class _Images:
    """Makes items of images, whose paths it looks up in the folders.

    Args:
        root: folder of the release.
        table: name of the table, for messages.
        record: takes the images that can't be used.
    """

    def __init__(self, root: Path, table: str, record: Record) -> None:
        find(root, _TRAIN)
        self.files = {name: path for folder in (_TRAIN, _TEST) for name, path in _dicom_files(root, folder)}
        self.table = table
        self.record = record

    def is_test(self, image: str) -> bool:
        """Whether an image is among the test images of stage 1."""
        return self.files.get(image, "").startswith(f"{_TEST}/")

    def items(self, codes_of: Mapping[str, Sequence[str]]) -> Iterator[dict[str, Any]]:
        """The items of the images that can be used, `codes_of` being the run lengths in each one's rows."""
        for image, codes in codes_of.items():
            try:
                yield self._item(image, codes)
            except DataError as error:
                self.record.reject(f"{self.table} ({image})", str(error))

    def _item(self, image: str, codes: Sequence[str]) -> dict[str, Any]:
        positive = [code for code in codes if code != _NEGATIVE]
        if positive and len(positive) < len(codes):
            raise DataError(f"one of its rows says {_NEGATIVE} (no pneumothorax), another has run lengths")
        return {
            "id": image,
            "image": self.files.get(image, f"{_TRAIN}/{image}.dcm"),  # which isn't there: `present` will notice
            "label": [int(bool(positive))],
            "rle": [checked_rle(code, _SIZE) for code in positive],
            "size": _SIZE,
        }


def _dicom_files(root: Path, folder: str) -> Iterator[tuple[str, str]]:
    for parent, _, names in os.walk(root / folder):
        for name in names:
            if name.endswith(".dcm"):
                yield name.removesuffix(".dcm"), (Path(parent) / name).relative_to(root).as_posix()


def _assign(
    rows: Sequence[tuple[str | None, str | None]], images: _Images, stage: int, args: argparse.Namespace
) -> tuple[list[Assigned], dict[str, Any], dict[str, int]]:
    """The items with their splits, what the header says about these, and the published counts."""
    counts = {"items": _IMAGES[stage], "images": _IMAGES[stage]}
    if args.split == "mgca":
        about = {"method": "mgca", "unit": "row", "ratios": [0.7, 0.15, 0.15], "seed": 0}
        return _by_row(rows, images), about, {"images": counts["images"]}
    codes_of = _by_image(rows)
    items = list(images.items(codes_of))
    if args.split == "lists":
        return assign_listed(items, args.lists, args.record), {"method": "lists", "unit": "image"}, {}
    if args.split == "official":
        if stage == 1:
            raise DataError(f"--split official needs {_TABLES[2]}: the table of stage 1 has no test images")
        about = {"method": "official test, rest by share", "unit": "image", "seed": args.seed}
        return _official(codes_of, items, images, args.seed), about, {**counts, **_OFFICIAL}
    about = {"method": "ours", "unit": "image", "ratios": [0.7, 0.15, 0.15], "seed": args.seed}
    split_of = dict(zip(codes_of, split_by_group(list(codes_of), 0.15, 0.15, args.seed), strict=True))
    return [(split_of[item["id"]], item) for item in items], about, counts | (_OURS if stage == 2 else {})


def _by_image(rows: Sequence[tuple[str | None, str | None]]) -> Codes:
    codes_of: Codes = {}
    for image, code in rows:
        codes_of.setdefault(str(image), []).append(str(code))
    return codes_of


def _official(codes_of: Codes, items: Sequence[dict[str, Any]], images: _Images, seed: int) -> list[Assigned]:
    """The test images of stage 1 as test; of the others as large a share for validation as the public list has."""
    others = [image for image in codes_of if not images.is_test(image)]
    share = _OFFICIAL["validation"] / _IMAGES[1]
    split_of = dict(zip(others, split_by_group(others, share, 0, seed), strict=True))
    return [(split_of.get(item["id"], "test"), item) for item in items]


def _by_row(rows: Sequence[tuple[str | None, str | None]], images: _Images) -> list[Assigned]:
    """Rows in the splits of the published draw: an image whose rows fall apart is an item in each, with these rows."""
    drawn = draw_splits(len(rows), 0.3)
    assigned: list[Assigned] = []
    for split in ("training", "validation", "test"):
        codes_of = _by_image([row for row, its_split in zip(rows, drawn, strict=True) if its_split == split])
        assigned += [(split, item) for item in images.items(codes_of)]
    times: dict[str, int] = {}
    for _, item in assigned:
        times[item["id"]] = times.get(item["id"], 0) + 1
    return [
        (split, {**item, "id": f"{item['id']}-{split}"} if times[item["id"]] > 1 else item) for split, item in assigned
    ]
