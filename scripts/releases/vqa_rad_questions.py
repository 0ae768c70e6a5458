"""The questions of VQA-RAD from either form of its files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from bundle.data.errors import DataError
from scripts.preparing.json_records import read_records
from scripts.preparing.official import find
from scripts.preparing.questions import squeezed

__all__ = ["Question", "image_folder", "read_questions"]

_PUBLIC = ("VQA_RAD Dataset Public.json", "VQA_RAD_Dataset_Public.json")
_PUBLIC_IMAGES = ("VQA_RAD Image Folder", "VQA_RAD_Image_Folder")
_SPLIT_FILES = {"training": "trainset.json", "test": "testset.json"}
_SPLIT_FILES_IMAGES = ("images",)
_KEYS = ("image_name", "image_organ", "question", "answer", "answer_type", "question_type", "phrase_type")


@dataclass(frozen=True)
class Question:
    """A question of either form.

    Attributes:
        number: its `qid` in the split files; a framed wording has the number after that of the question it frames.
        split: the published one, `training` or `test`.
        record: its fields.
        frames: the number of the question that it words anew, for a framed one.
    """

    number: int
    split: str
    record: Mapping[str, Any]
    frames: int | None = None


def image_folder(root: Path, unseen: bool) -> str:
    """The name of the folder of images under `root`.

    Args:
        root: the folder.
        unseen: take the usual name, whether the folder is there or not.

    Raises:
        DataError: it isn't there.
    """
    is_public = any((root / name).exists() for name in _PUBLIC)
    names = _PUBLIC_IMAGES if is_public else _SPLIT_FILES_IMAGES
    return names[0] if unseen else find(root, *names).name


def read_questions(root: Path) -> Iterator[Question]:
    """Read the questions of either form in the order of their numbers, which are the same in both.

    Args:
        root: the folder that holds `VQA_RAD Dataset Public.json`, or `trainset.json` and `testset.json`.

    Raises:
        DataError: a file is missing or cut off, lacks a key, or has a number twice.
    """
    path = find(root, *_PUBLIC, _SPLIT_FILES["training"])
    return _from_public(path) if path.name in _PUBLIC else _from_split_files(root)


def _from_public(path: Path) -> Iterator[Question]:
    """The questions numbered as in the split files, framed wordings in training as there, whatever they frame."""
    numbers = count(1)
    for record in read_records(path, _KEYS):
        number = next(numbers)
        phrase = squeezed(record["phrase_type"]).lower()
        split = "test" if phrase.startswith("test") else "training"
        yield Question(number, split, {**record, "phrase_type": phrase.removeprefix("test_")})
        if squeezed(record.get("question_frame")) not in ("", "NULL"):
            framed = {**record, "question": record["question_frame"], "phrase_type": "frame"}
            yield Question(next(numbers), "training", framed, frames=number)


def _from_split_files(root: Path) -> Iterator[Question]:
    """The questions of both files in the order of their numbers."""
    found: dict[int, tuple[str, dict[str, Any]]] = {}
    for split, name in _SPLIT_FILES.items():
        path = find(root, name)
        for record in read_records(path, ["qid", *_KEYS]):
            qid = squeezed(record["qid"])
            if not qid.isdecimal() or int(qid) in found:
                raise DataError(f"{path}: qid '{qid}' is no number, or that of two questions")
            found[int(qid)] = split, record
    for number, (split, record) in sorted(found.items(), key=lambda question: question[0]):
        _, before = found.get(number - 1, ("", {}))
        frames = record["phrase_type"] == "frame" and record["image_name"] == before.get("image_name")
        yield Question(number, split, record, frames=number - 1 if frames else None)
