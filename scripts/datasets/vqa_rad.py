"""VQA-RAD: questions about radiology images (head, chest, abdomen), in either of two forms.

Needed under --root, as the authors publish it: `VQA_RAD Dataset Public.json` and the folder `VQA_RAD Image Folder`. Or
in the form that most published results use: `trainset.json`, `testset.json` and the folder `images`. Both give the same
questions under the same numbers: the framed wordings, which the first has in `question_frame`, are questions of their
own in the second.

    python -m scripts.prepare vqa_rad --root /data/vqa-rad --out lists/vqa_rad
    python -m scripts.prepare vqa_rad --root /data/vqa-rad --out lists/vqa_rad_official --split official
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from bundle.data.splits import split_by_group
from scripts.preparing.assigned import Assigned, as_splits, describe_published, present
from scripts.preparing.official import add_root, declare_leaks, image_root
from scripts.preparing.questions import question_item, squeezed
from scripts.releases.vqa_rad_questions import Question, image_folder, read_questions

__all__ = ["HELP", "add_arguments", "build"]

HELP = "VQA-RAD: questions about radiology images of head, chest and abdomen"

_VALIDATION, _TEST = 0.1, 0.2

_PUBLISHED = {
    "all": {"items": 3515, "images": 314, "training": 3064, "test": 451},
    "chest": {"items": 1262, "images": 107, "training": 1088, "test": 174},
}
_PUBLISHED_OF_SPLIT = {"official": ("items", "images", "training", "test"), "ours": ("test",)}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this data set's options."""
    add_root(parser, "VQA-RAD, in either form")
    parser.add_argument(
        "--split",
        choices=("images", "ours", "official"),
        default="images",
        help="images: all questions of an image in one split (the default); ours: the published test split, validation "
        "drawn from training by image, training without test questions in other words; official: as published, where "
        "every test image, and many a test question in other words, is in training",
    )
    parser.add_argument("--chest-only", action="store_true", help="keep only questions about images of the chest")


def build(args: argparse.Namespace) -> dict[str, Any]:
    """Make the data list.

    Args:
        args: the options of `add_arguments` and the common ones of `scripts.prepare`.

    Returns:
        The data list; `image_root` is absolute.

    Raises:
        DataError: a file is missing or cut off, lacks a key, or (without `--on-error skip`) a question can't be used.
    """
    questions = list(_chosen(read_questions(args.root), args))
    framed = {str(question.number): str(question.frames) for question in questions if question.frames}
    published = _as_published(questions, _items(questions, args))
    assigned = present(_assigned(published, framed, args), args)
    datalist = {
        "name": "vqa_rad",
        "task": "vqa",
        "modality": {"0": "OT"},
        "licence": "CC0 1.0",
        "source": "VQA-RAD, https://osf.io/89kps/",
        "image_root": image_root(args.root),
        **describe_published(args, _published_counts(args)),
        "split": _describe_split(assigned, framed, args),
        **as_splits(assigned, args.seed),
    }
    return datalist if args.split == "images" else declare_leaks(datalist)


def _chosen(questions: Iterable[Question], args: argparse.Namespace) -> Iterator[Question]:
    for question in questions:
        if args.chest_only and squeezed(question.record["image_organ"]).upper() != "CHEST":
            args.record.drop("image not of the chest")
        else:
            yield question


def _items(questions: Iterable[Question], args: argparse.Namespace) -> dict[str, dict[str, Any]]:
    folder = image_folder(args.root, args.without_images)
    items: dict[str, dict[str, Any]] = {}
    for question in questions:
        record = question.record
        item = question_item(
            f"{args.root} question {question.number}",
            args.record,
            name=str(question.number),
            image=f"{folder}/{squeezed(record['image_name'])}",
            question=record["question"],
            answers=[record["answer"]],
            answer_type=record["answer_type"],
            organ=record["image_organ"],
            category=record["question_type"],
            phrase_type=record["phrase_type"],
        )
        if item is not None:
            items[item["id"]] = item
    return items


def _as_published(questions: Iterable[Question], items: Mapping[str, dict[str, Any]]) -> list[Assigned]:
    names = ((question.split, str(question.number)) for question in questions)
    return [(split, items[name]) for split, name in names if name in items]


def _assigned(published: list[Assigned], framed: Mapping[str, str], args: argparse.Namespace) -> list[Assigned]:
    if args.split == "official":
        return published
    if args.split == "images":
        return _drawn([item for _, item in published], _TEST, args.seed)
    restated = _restated(published, framed)
    args.record.drop("training question that words a test question anew", len(restated))
    training = [item for split, item in published if split == "training" and item["id"] not in restated]
    test = [(split, item) for split, item in published if split == "test"]
    return sorted([*_drawn(training, 0, args.seed), *test], key=lambda assigned: int(assigned[1]["id"]))


def _drawn(items: list[dict[str, Any]], test: float, seed: int) -> list[Assigned]:
    """Draw splits by the image's name, without its folder: the two forms of the data set have other folders."""
    images = [PurePosixPath(item["image"]).name for item in items]
    return list(zip(split_by_group(images, _VALIDATION, test, seed) if items else (), items, strict=True))


def _restated(assigned: list[Assigned], framed: Mapping[str, str]) -> set[str]:
    """Training questions that ask what a test question asks: its framed wording, or the same words about its image."""
    test = {item["id"] for split, item in assigned if split == "test"}
    wordings = {_wording(item) for split, item in assigned if split == "test"}
    return {
        item["id"]
        for split, item in assigned
        if split == "training" and (framed.get(item["id"]) in test or _wording(item) in wordings)
    }


def _wording(item: Mapping[str, Any]) -> tuple[str, str]:
    return item["image"], item["question"].lower()


def _describe_split(assigned: list[Assigned], framed: Mapping[str, str], args: argparse.Namespace) -> dict[str, Any]:
    if args.split == "official":
        restated = len(_restated(assigned, framed))
        if restated:
            print(f"warning: {restated} training questions of this published split word a test question anew")
        return {"method": "official", "unit": "question", "restated": restated, "leak_checked": True}
    drawn = [_VALIDATION] if args.split == "ours" else [_VALIDATION, _TEST]
    ratios = [round(1 - sum(drawn), 6), *drawn]
    return {"method": args.split, "unit": "image", "ratios": ratios, "seed": args.seed, "leak_checked": True}


def _published_counts(args: argparse.Namespace) -> dict[str, int]:
    counts = _PUBLISHED["chest" if args.chest_only else "all"]
    return {key: counts[key] for key in _PUBLISHED_OF_SPLIT.get(args.split, ("items", "images"))}
