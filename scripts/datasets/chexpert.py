"""CheXpert v1.0 in full size or small: frontal views with 14 labels (1, 0, -1 uncertain, null not mentioned).

Needed under --root: `train.csv`, `valid.csv` and the folders `train` and `valid`, as they lie in `CheXpert-v1.0` or
`CheXpert-v1.0-small`; --root is that folder or the one it lies in. Also read is the download in batches, with the
folders `CheXpert-v1.0 batch 1 (validate & csv)`, `CheXpert-v1.0 batch 2 (train 1)` and so on. For the test images
`test.csv` (or `test_labels.csv`) and the folder `test` beside `train.csv`.

--limit keeps the first N items of each split.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import pandas as pd

from bundle.data.errors import DataError
from scripts.preparing.official import (
    add_root,
    declare_leaks,
    image_root,
    split_evenly,
    with_images,
    with_subsets,
)
from scripts.releases.chexpert_draws import draw_5x200, draw_mgca
from scripts.releases.chexpert_files import CLASSES, Release

__all__ = ["HELP", "add_arguments", "build"]

HELP = "CheXpert v1.0 or small: 14 labels of frontal views; by patient, official, MGCA, 5x200"

Item = dict[str, Any]

_COMPETITION = ["Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Pleural Effusion"]
_VALIDATION = 0.026  # 5,000 of 191,027 images, as many as in the public protocols
_PUBLISHED = {
    "ours": {"test": 202},
    "official": {"training": 191_027, "validation": 202},
    "mgca": {"test": 202},
    "5x200": {"items": 1_000, "test": 1_000},
}
_TEXTS = ["id", "image", "patient", "study", "view"]
_VALUES = {1.0: 1, 0.0: 0, -1.0: -1}  # a blank is nan, which is not among them: null


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this data set's options."""
    add_root(parser, "CheXpert-v1.0 or CheXpert-v1.0-small")
    parser.add_argument(
        "--split",
        choices=tuple(_PUBLISHED),
        default="ours",
        help="ours: 2.6 %% of the patients of train.csv for validation, valid.csv for test (default); official: "
        "train.csv, valid.csv and, where there is one, test.csv; mgca: the rows that MGCA's code draws, with its leak; "
        "5x200: the 1,000 images of five classes for zero-shot classification and retrieval, all for test",
    )
    parser.add_argument(
        "--labels",
        choices=("five", "fourteen"),
        help="the five competition labels (default with --split mgca) or all (default otherwise); 5x200 has its five",
    )


def build(args: argparse.Namespace) -> dict[str, Any]:
    """Make the data list of the frontal views.

    Args:
        args: the options of `add_arguments` and the common ones of `scripts.prepare`.

    Returns:
        The data list; `image_root` is absolute.

    Raises:
        DataError: a table is missing or damaged, or (without `--on-error skip`) an image or label can't be used.
    """
    release = Release(args.root, args.record)
    return {
        "name": "chexpert",
        "task": "classification",
        "modality": {"0": "CR"},
        "licence": "Research Use Agreement of the Stanford University CheXpert data set",
        "source": "CheXpert v1.0, Stanford University",
        "image_root": image_root(args.root),
        **({} if args.limit else {"published": _PUBLISHED[args.split]}),
        **(_five_classes(release, args) if args.split == "5x200" else _classification(release, args)),
    }


def _classification(release: Release, args: argparse.Namespace) -> dict[str, Any]:
    named = args.labels or ("five" if args.split == "mgca" else "fourteen")
    classes = _COMPETITION if named == "five" else CLASSES
    about, tables = _SPLITS[args.split](release)
    splits = {name: _items(table, classes, args) for name, table in tables.items()}
    if args.split == "ours":
        about |= {"ratios": [round(1 - _VALIDATION, 6), _VALIDATION], "seed": args.seed}
        splits = {**split_evenly(splits["training"], _VALIDATION, 0, args.seed), "test": splits["test"]}
    splits = {name: with_images(items[: args.limit], args.root, args) for name, items in splits.items()}
    parts = {"classes": classes, "multilabel": True, "split": about, **with_subsets(splits, args.seed)}
    return parts if args.split == "ours" else declare_leaks(parts)


def _ours(release: Release) -> tuple[dict[str, Any], dict[str, pd.DataFrame]]:
    about = {"method": "valid.csv for test, the rest by share", "unit": "patient", "leak_checked": True}
    return about, {"training": release.read("train"), "test": release.read("valid")}


def _official(release: Release) -> tuple[dict[str, Any], dict[str, pd.DataFrame]]:
    tables = {"training": release.read("train"), "validation": release.read("valid")}
    if release.has_test:
        tables["test"] = release.read("test")
    return {"method": "official", "unit": "patient", "leak_checked": True}, tables


def _mgca(release: Release) -> tuple[dict[str, Any], dict[str, pd.DataFrame]]:
    train = release.read("train")
    training, validation = draw_mgca(train, draw_5x200(train, CLASSES, _COMPETITION))
    # An id occurs once in a list: the copy of a training image in validation needs another.
    twice = validation["id"].isin(set(training["id"]))
    validation = validation.assign(id=validation["id"].mask(twice, validation["id"] + "_validation"))
    about = {"method": "mgca", "unit": "image", "seed": 0, "leak_checked": True}
    return about, {"training": training, "validation": validation, "test": release.read("valid")}


_SPLITS = {"ours": _ours, "official": _official, "mgca": _mgca}


def _five_classes(release: Release, args: argparse.Namespace) -> dict[str, Any]:
    if args.labels:
        raise DataError("--labels: the list of --split 5x200 has one of five classes an image; leave the option out")
    drawn = draw_5x200(release.read("train"), CLASSES, _COMPETITION)
    items = [
        {**item, "label": _COMPETITION.index(group), "group": group}
        for item, group in zip(_items(drawn, CLASSES, args), drawn["group"], strict=True)
    ]
    return {
        "classes": _COMPETITION,
        "multilabel": False,
        "split": {"method": "5x200", "unit": "image", "seed": 0, "leak_checked": True},
        "test": with_images(items[: args.limit], args.root, args),
    }


def _items(table: pd.DataFrame, classes: Sequence[str], args: argparse.Namespace) -> list[Item]:
    frontal = table[table["frontal"]]
    args.record.drop("lateral view", len(table) - len(frontal))
    labels = [[_VALUES.get(value) for value in row] for row in frontal[list(classes)].to_numpy().tolist()]
    rows = zip(*(frontal[name] for name in _TEXTS), labels, strict=True)
    return [
        {
            "id": name,
            "image": image,
            "patient": patient,
            "study": study,
            **({"view": view} if view else {}),
            "label": label,
        }
        for name, image, patient, study, view, label in rows
    ]
