"""COVIDx: radiographs as normal, pneumonia or COVID-19, or as COVID-19 or not, from the lists of COVID-Net.

Needed under --root: a list for training and one for test of the same version, such as `train_COVIDx9A.txt` and
`test_COVIDx9A.txt` (three classes), `train_COVIDx9B.txt` and `test_COVIDx9B.txt` (two) or `train.txt` and `test.txt`,
where there is one a `val` list too, and the images in `train`, `test` (and `val`). The lists have no header; a line is
`patient_id filename class source`.

--limit keeps the first N items of each split.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bundle.data.errors import DataError
from scripts.preparing.official import (
    add_root,
    declare_leaks,
    find,
    image_root,
    split_evenly,
    with_images,
    with_subsets,
)
from scripts.preparing.record import Record

__all__ = ["HELP", "add_arguments", "build"]

HELP = "COVIDx (COVID-Net): three classes or COVID-19 alone; by patient, official, MGCA"

Item = dict[str, Any]

_THREE = ["normal", "pneumonia", "COVID-19"]
_TWO = ["negative", "positive"]
_COLUMNS = 4
_SHARE = 0.2
_FOLDERS = {"training": "train", "validation": "val", "test": "test"}
_PUBLISHED = {
    "ours": {"test": 400},
    "official": {"training": 29_986, "test": 400},
    "mgca": {"training": 23_988, "validation": 5_998, "test": 400},
}
"""Of `train_COVIDx9A.txt`."""


class _Lists(NamedTuple):
    """The lists of one version.

    Attributes:
        version: what follows `train` in the file names, such as `_COVIDx9A`.
        paths: the list of each split.
        classes: the words for the classes.
    """

    version: str
    paths: dict[str, Path]
    classes: list[str]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this data set's options."""
    add_root(parser, "the lists and the folders train and test")
    parser.add_argument(
        "--split",
        choices=tuple(_PUBLISHED),
        default="ours",
        help="ours: 80/20 of the training list by patient, none of whom is in the test list (default); official: the "
        "lists as they are; mgca: the 80/20 of its rows that MGCA's code draws",
    )
    parser.add_argument(
        "--list", metavar="FILE", help="the training list, where there are several, such as train_COVIDx9A.txt"
    )


def build(args: argparse.Namespace) -> dict[str, Any]:
    """Make the data list.

    Args:
        args: the options of `add_arguments` and the common ones of `scripts.prepare`.

    Returns:
        The data list; `image_root` is absolute.

    Raises:
        DataError: a list is missing or damaged, or (without `--on-error skip`) a line or an image can't be used.
    """
    lists = _find_lists(args)
    official = {split: _read(path, _FOLDERS[split], lists.classes, args.record) for split, path in lists.paths.items()}
    about, splits = {"ours": _ours, "official": _official, "mgca": _mgca}[args.split](official, args)
    splits = {name: with_images(items[: args.limit], args.root, args) for name, items in splits.items()}
    is_published = lists.version == "_COVIDx9A" and not args.limit
    datalist = {
        "name": "covidx",
        "task": "classification",
        "modality": {"0": "CR"},
        "licence": "that of each source, see the release",
        "source": f"COVIDx, lists {', '.join(path.name for path in lists.paths.values())}",
        "classes": _THREE if lists.classes == _THREE else ["COVID-19"],
        "multilabel": lists.classes == _TWO,
        "image_root": image_root(args.root),
        **({"published": _PUBLISHED[args.split]} if is_published else {}),
        "split": {**about, "leak_checked": True},
        **with_subsets(splits, args.seed),
    }
    return datalist if args.split == "ours" else declare_leaks(datalist)


def _find_lists(args: argparse.Namespace) -> _Lists:
    found = sorted(path.name for path in args.root.glob("train*.txt"))
    if args.list is None and len(found) > 1:
        raise DataError(f"{args.root}: there are the lists {', '.join(found)}; choose one with --list")
    names = [args.list] if args.list else found or ["train_COVIDx9A.txt", "train_COVIDx9B.txt", "train.txt"]
    training = find(args.root, *names)
    version = training.stem.removeprefix("train")
    paths = {"training": training, "test": find(args.root, f"test{version}.txt")}
    validation = args.root / f"val{version}.txt"
    if validation.is_file():
        paths["validation"] = validation
    words = {columns[2] for line in _lines(training) if (columns := _columns(line))}
    return _Lists(version, paths, _TWO if words & set(_TWO) else _THREE)


def _lines(path: Path) -> list[str]:
    try:
        return [line for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: the list can't be read ({error})") from error


def _columns(line: str) -> tuple[str, str, str] | None:
    """Patient, file and class, counted from the right since patients' names may hold spaces; None of a shorter line."""
    words = line.split()
    return (" ".join(words[:-3]), words[-3], words[-2]) if len(words) >= _COLUMNS else None


def _read(path: Path, folder: str, classes: list[str], record: Record) -> list[Item]:
    items: dict[str, Item] = {}
    lines = _lines(path)
    if not lines or _columns(lines[-1]) is None:
        raise DataError(f"{path}: its last line has fewer than {_COLUMNS} columns; the file was cut off")
    for number, line in enumerate(lines, start=1):
        patient, name, word = _columns(line) or ("", "", "")
        if word not in classes:
            known = ", ".join(classes)
            record.reject(
                f"{path.name} line {number}", f"it isn't 'patient_id filename class source' with one of {known}"
            )
        elif name in items:
            record.drop(f"image listed before in {path.name}")
        else:
            label = classes.index(word)
            common = {"id": f"{folder}/{name}", "image": f"{folder}/{name}", "patient": patient}
            items[name] = {**common, "label": [label] if classes == _TWO else label}
    return list(items.values())


def _ours(official: dict[str, list[Item]], args: argparse.Namespace) -> tuple[dict[str, Any], dict[str, list[Item]]]:
    test = official["test"]
    training = _without_patients(official["training"], test, args.record)
    if "validation" in official:
        validation = _without_patients(official["validation"], test, args.record)
        training = _without_patients(training, validation, args.record)
        about = {"method": "official, each patient in one split", "unit": "patient"}
        return about, {"training": training, "validation": validation, "test": test}
    drawn = {"ratios": [1 - _SHARE, _SHARE], "seed": args.seed}
    about = {"method": "official test, the rest by share", "unit": "patient"}
    return {**about, **drawn}, {**split_evenly(training, _SHARE, 0, args.seed), "test": test}


def _official(
    official: dict[str, list[Item]], args: argparse.Namespace
) -> tuple[dict[str, Any], dict[str, list[Item]]]:
    return {"method": "official", "unit": "image"}, official


def _mgca(official: dict[str, list[Item]], args: argparse.Namespace) -> tuple[dict[str, Any], dict[str, list[Item]]]:
    """The draw of scikit-learn's `train_test_split(rows, test_size=0.2, random_state=0)`."""
    if "validation" in official:
        raise DataError(f"{args.root}: --split mgca draws validation images, but this release has a list of its own")
    rows = official["training"]
    order = np.random.RandomState(0).permutation(len(rows)).tolist()
    count = math.ceil(_SHARE * len(rows))
    splits = {"training": [rows[k] for k in order[count:]], "validation": [rows[k] for k in order[:count]]}
    about = {"method": "mgca", "unit": "image", "ratios": [1 - _SHARE, _SHARE], "seed": 0}
    return about, {**splits, "test": official["test"]}


def _without_patients(items: list[Item], others: list[Item], record: Record) -> list[Item]:
    taken = {item["patient"] for item in others}
    kept = [item for item in items if item["patient"] not in taken]
    record.drop("patient of validation or test in an earlier split", len(items) - len(kept))
    return kept
