"""SLAKE: questions in English and Chinese about radiology images (CT, MRI and X-ray of several regions).

Needed under --root: `train.json`, `validate.json` (`validation.json` in some copies), `test.json` and the images as
`imgs/xmlabN/source.jpg`.

    python -m scripts.prepare slake --root /data/Slake1.0 --out lists/slake
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from scripts.preparing.assigned import Assigned, as_splits, describe_published, present
from scripts.preparing.json_records import read_records
from scripts.preparing.official import add_root, declare_leaks, find, image_root
from scripts.preparing.questions import question_item, squeezed

__all__ = ["HELP", "add_arguments", "build"]

HELP = "SLAKE: questions about radiology images, in English by default"

_FILES = {
    "training": ("train.json",),
    "validation": ("validate.json", "validation.json"),
    "test": ("test.json",),
}
_KEYS = ("qid", "img_name", "question", "answer", "q_lang", "location", "modality", "answer_type", "content_type")
_ALL = "all"
_PUBLISHED = {"en": {"training": 4919, "validation": 1053, "test": 1061}}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this data set's options."""
    add_root(parser, "train.json, validate.json, test.json and the folder imgs of SLAKE")
    parser.add_argument("--language", choices=("en", "zh", _ALL), default="en", help="of the questions (default: en)")


def build(args: argparse.Namespace) -> dict[str, Any]:
    """Make the data list, in the published split.

    Args:
        args: the options of `add_arguments` and the common ones of `scripts.prepare`.

    Returns:
        The data list; `image_root` is absolute.

    Raises:
        DataError: a file is missing or cut off, lacks a key, or (without `--on-error skip`) a question can't be used.
    """
    assigned = present(_questions(args), args)
    return declare_leaks(
        {
            "name": "slake",
            "task": "vqa",
            "modality": {"0": "OT"},
            "licence": "CC BY 4.0",
            "source": "SLAKE 1.0, https://www.med-vqa.com/slake/",
            "image_root": image_root(args.root),
            **describe_published(args, _PUBLISHED.get(args.language, {})),
            "split": {"method": "official", "unit": "image", "leak_checked": True},
            **as_splits(assigned, args.seed),
        }
    )


def _questions(args: argparse.Namespace) -> Iterator[Assigned]:
    for split, names in _FILES.items():
        path = find(args.root, *names)
        for record in read_records(path, _KEYS):
            if args.language not in (_ALL, squeezed(record["q_lang"]).lower()):
                args.record.drop("question in another language")
            elif (item := _item(path, record, args)) is not None:
                yield split, item


def _item(path: Path, record: dict[str, Any], args: argparse.Namespace) -> dict[str, Any] | None:
    return question_item(
        f"{path} question {record['qid']}",
        args.record,
        name=squeezed(record["qid"]),
        image=f"imgs/{squeezed(record['img_name'])}",
        question=record["question"],
        answers=[record["answer"]],
        answer_type=record["answer_type"],
        language=record["q_lang"],
        organ=record["location"],
        modality=record["modality"],
        category=record["content_type"],
    )
