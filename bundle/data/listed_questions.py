"""The questions of a data list, whether each is an item of its own or an item holds several."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from bundle.data.datalist import load_splits, read_datalist
from bundle.data.datalist_form import fail
from bundle.data.errors import DataError

__all__ = ["ANSWER_TYPES", "ListedQuestion", "joined_persons", "listed_questions"]

ANSWER_TYPES = ("CLOSED", "OPEN")
"""Answered by yes or no or by one of the words of the question, or by anything; their numbers are those in batches."""


@dataclass(frozen=True)
class ListedQuestion:
    """A question of a data list.

    Attributes:
        name: the item's `id`; with a number behind it where the item holds several questions.
        image: absolute path.
        patient: one name for patients that the list's header joins to one person; where the list names none, the
            image's path, since the questions of an image belong together.
        question: as written.
        answers: those that are right, as written, one or more.
        answer_type: one of `ANSWER_TYPES`.
        category: what kind of question the list says it is; None where it says nothing.
    """

    name: str
    image: str
    patient: str
    question: str
    answers: tuple[str, ...]
    answer_type: str
    category: str | None


def listed_questions(
    path: str | os.PathLike[str], split: str | None = None, subset: int | None = None
) -> dict[str, list[ListedQuestion]]:
    """Read the questions of a list.

    An item with a `question` is one question, with `answer` (or all right `answers`) and `answer_type`. An item with
    `questions` (phantoms) holds a list of objects with these keys. Items with neither have no question.

    Args:
        path: the data list.
        split: `training`, `validation` or `test`; None: all that the list has.
        subset: percentage of the training split, as drawn when the list was made; None: all of it.

    Returns:
        From split to questions in the order of the list.

    Raises:
        DataError: the list can't be used or lacks the split; an image isn't there; a question is empty, has no answer
            or an unknown type; or a split has no question.
    """
    datalist = read_datalist(path)
    person = joined_persons(datalist)
    splits = load_splits(datalist, path, split, ("image",), subset, check_files="all")
    found = {
        name: [one for item in items for one in _questions(item, person, str(path))] for name, items in splits.items()
    }
    for name, questions in found.items():
        if not questions:
            raise DataError(f"{path}: none of the {len(splits[name])} items of {name} has a 'question' or 'questions'")
    return found


def joined_persons(datalist: Mapping[str, Any]) -> dict[str, str]:
    """The one name of patients that a list's header joins to one person, by each of their names."""
    joined = datalist.get("split", {}).get("joined", [])
    return {patient: group[0] for group in joined for patient in group}


def _questions(item: Mapping[str, Any], person: Mapping[str, str], source: str) -> Iterator[ListedQuestion]:
    if "question" in item:
        yield _question(item, item, item["id"], person, source)
    several = item.get("questions", [])
    if not isinstance(several, list) or not all(isinstance(one, Mapping) for one in several):
        raise fail(source, item, "'questions' must be a list of objects with question, answer and answer_type")
    for number, asked in enumerate(several):
        yield _question(item, asked, f"{item['id']}-{number}", person, source)


def _question(
    item: Mapping[str, Any], asked: Mapping[str, Any], name: str, person: Mapping[str, str], source: str
) -> ListedQuestion:
    answers = asked.get("answers", [asked.get("answer")])
    kind = asked.get("answer_type")
    if not _is_text(asked.get("question")):
        raise fail(source, item, f"question {name} has no text; write one or take the question out")
    if not isinstance(answers, list) or not answers or not all(map(_is_text, answers)):
        raise fail(source, item, f"question {name} has no 'answer', which must be a text; give one or take it out")
    if kind not in ANSWER_TYPES:
        raise fail(source, item, f"question {name} has the answer_type {kind!r}, which must be CLOSED or OPEN")
    patient = item.get("patient", item["image"])
    return ListedQuestion(
        name=name,
        image=item["image"],
        patient=person.get(patient, patient),
        question=asked["question"],
        answers=tuple(answers),
        answer_type=kind,
        category=asked.get("category"),
    )


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())
