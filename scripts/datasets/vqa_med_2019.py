"""VQA-Med 2019: questions about the modality, plane, organ and abnormality of radiology images.

Needed under --root, each zip file unpacked: `ImageClef-2019-VQA-Med-Training` and `ImageClef-2019-VQA-Med-Validation`
with `QAPairsByCategory/C1_Modality_train.txt` (C2_Plane, C3_Organ, C4_Abnormality; `_val` in the second) and the images
in `Train_images` and `Val_images`; `VQAMed2019Test` with `VQAMed2019_Test_Questions_w_Ref_Answers.txt` and, unpacked
too, `VQAMed2019_Test_Images`.

    python -m scripts.prepare vqa_med_2019 --root /data/vqa-med-2019 --out lists/vqa_med_2019
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from bundle.data.errors import DataError
from bundle.data.leaks import find_leaks
from scripts.preparing.assigned import Assigned, as_splits, describe_published, present
from scripts.preparing.official import add_root, declare_leaks, find, image_root
from scripts.preparing.questions import question_item, squeezed

__all__ = ["HELP", "add_arguments", "build"]

HELP = "VQA-Med 2019: questions about modality, plane, organ and abnormality"

_CATEGORIES = {"modality": "C1_Modality", "plane": "C2_Plane", "organ": "C3_Organ", "abnormality": "C4_Abnormality"}
_DEFAULT = ("modality", "plane", "organ")
_FOLDERS = {
    "training": ("ImageClef-2019-VQA-Med-Training", "train", "Train_images"),
    "validation": ("ImageClef-2019-VQA-Med-Validation", "val", "Val_images"),
}
_TEST = ("VQAMed2019Test", "VQAMed2019_Test_Questions_w_Ref_Answers.txt", "VQAMed2019_Test_Images")
_ALTERNATIVES = "#"

_PUBLISHED = {"items": 15292, "images": 4200, "training": 12792, "validation": 2000, "test": 500}
_PUBLISHED_DEFAULT = {"test": 375}


class _Line(NamedTuple):
    """A question as its file has it.

    Attributes:
        where: file and line, for messages.
        split: the published one.
        image: the image's file relative to the root.
        category: one of `_CATEGORIES`.
        question: as written.
        answer: as written, alternatives with # between them.
    """

    where: str
    split: str
    image: str
    category: str
    question: str
    answer: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this data set's options."""
    add_root(parser, "the three unpacked folders of VQA-Med 2019")
    parser.add_argument(
        "--categories",
        nargs="+",
        choices=tuple(_CATEGORIES),
        default=_DEFAULT,
        help=f"of the questions (default: {' '.join(_DEFAULT)}, which published results of classifiers use)",
    )


def build(args: argparse.Namespace) -> dict[str, Any]:
    """Make the data list, in the published split.

    Args:
        args: the options of `add_arguments` and the common ones of `scripts.prepare`.

    Returns:
        The data list; `image_root` is absolute.

    Raises:
        DataError: a file is missing, a line has another form, or (without `--on-error skip`) an image is missing.
    """
    assigned = present(_questions(args), args)
    datalist = {
        "name": "vqa_med_2019",
        "task": "vqa",
        "modality": {"0": "OT"},
        "licence": "CC BY 4.0",
        "source": "VQA-Med 2019, https://zenodo.org/records/10499039",
        "image_root": image_root(args.root),
        "categories": [name for name in _CATEGORIES if name in args.categories],
        **describe_published(args, _published_counts(args)),
        "split": {"method": "official", "unit": "image", "leak_checked": True, **_same_names(assigned)},
        **as_splits(assigned, args.seed),
    }
    return declare_leaks(datalist)


def _questions(args: argparse.Namespace) -> Iterator[Assigned]:
    asked: Counter[str] = Counter()
    for line in (*_training_lines(args), *_test_lines(args)):
        # An image is asked one question a category; should it be more, the second gets a number.
        name = f"{line.split}-{Path(line.image).stem}-{line.category}"
        asked[name] += 1
        item = question_item(
            line.where,
            args.record,
            name=name if asked[name] == 1 else f"{name}-{asked[name]}",
            image=line.image,
            question=line.question,
            answers=line.answer.split(_ALTERNATIVES),
            category=line.category,
        )
        if item is not None:
            yield line.split, item


def _training_lines(args: argparse.Namespace) -> Iterator[_Line]:
    """Lines `image|question|answer` of training and validation, a file for each category."""
    for split, (folder, ending, images) in _FOLDERS.items():
        for category in args.categories:
            path = find(args.root, f"{folder}/QAPairsByCategory/{_CATEGORIES[category]}_{ending}.txt")
            for where, (image, question, answer) in _read_lines(path, 3):
                yield _Line(where, split, f"{folder}/{images}/{image}.jpg", category, question, answer)


def _test_lines(args: argparse.Namespace) -> Iterator[_Line]:
    """Lines `image|category|question|answer`."""
    folder, name, images = _TEST
    for where, (image, category, question, answer) in _read_lines(find(args.root, f"{folder}/{name}"), 4):
        if category not in _CATEGORIES:
            raise DataError(f"{where}: its category '{category}' is none of {', '.join(_CATEGORIES)}")
        if category in args.categories:
            yield _Line(where, "test", f"{folder}/{images}/{image}.jpg", category, question, answer)
        else:
            args.record.drop("test question of another category")


def _read_lines(path: Path, fields: int) -> Iterator[tuple[str, list[str]]]:
    # A byte that is no UTF-8 spoils one letter; that is no reason to lose the question.
    for number, line in enumerate(path.read_text(encoding="utf-8-sig", errors="replace").splitlines(), 1):
        where = f"{path} line {number}"
        parts = [squeezed(part) for part in line.split("|")]
        if len(parts) != fields and line.strip():
            raise DataError(f"{where}: it has {len(parts)} fields with | between them, not {fields}")
        if line.strip():
            yield where, parts


def _same_names(assigned: list[Assigned]) -> dict[str, Any]:
    """What the splits share by names of images; by path they share nothing, as each has a folder of its own."""
    named: dict[str, list[dict[str, Any]]] = {}
    for split, item in assigned:
        named.setdefault(split, []).append({"id": item["id"], "image": Path(item["image"]).name})
    shared = {pair: counts["images"] for pair, counts in find_leaks(named).items()}
    for pair, number in shared.items():
        print(f"warning: {pair.replace('-', ' and ')} of this published split share {number} names of images")
    return {"same_names": shared} if shared else {}


def _published_counts(args: argparse.Namespace) -> dict[str, int]:
    chosen = set(args.categories)
    return _PUBLISHED if chosen == set(_CATEGORIES) else _PUBLISHED_DEFAULT if chosen == set(_DEFAULT) else {}
