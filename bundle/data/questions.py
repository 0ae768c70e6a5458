"""What question answering reads: the questions of a data list, their answers as numbers."""

from __future__ import annotations

import logging
import os
from typing import Any

from bundle.data.answer_vocabulary import AnswerVocabulary
from bundle.data.listed_questions import ANSWER_TYPES, ListedQuestion, listed_questions

__all__ = ["question_items"]

logger = logging.getLogger(__name__)


def question_items(
    path: str | os.PathLike[str], split: str, vocabulary: AnswerVocabulary, subset: int | None = None
) -> list[dict[str, Any]]:
    """The questions of a split, of lists with one question an item and of lists with several (phantoms).

    A question none of whose answers is in the vocabulary stays: no network can answer it, and it counts as wrong. Their
    number is logged.

    Args:
        path: the data list.
        split: `training`, `validation` or `test`.
        vocabulary: gives answers their numbers.
        subset: percentage of the training split, as drawn when the list was made; None: all of it.

    Returns:
        Of each question, in the order of the list,

        - `image`: absolute path;
        - `question`: as written;
        - `answer`: number of the first right answer that the vocabulary has, -1 where it has none;
        - `answers`: numbers of all right answers that it has;
        - `answer_type`: place in `ANSWER_TYPES`;
        - `category`: what kind of question the list says it is, "" where it says nothing;
        - `index`: its place in what is returned;
        - `patient`: as of `ListedQuestion`, for intervals that draw whole patients.

    Raises:
        DataError: see `listed_questions`.

    Example:
        >>> vocabulary = build_vocabulary("lists/phantoms/datalist.json")  # doctest: +SKIP
        >>> question_items("lists/phantoms/datalist.json", "test", vocabulary)[0]["question"]  # doctest: +SKIP
        'Is there a pneumothorax?'
    """
    questions = listed_questions(path, split, subset)[split]
    known = [_known(question, vocabulary) for question in questions]
    if unknown := known.count([]):
        share = 100 * unknown / len(known)
        message = "%s: %d of %d questions of %s (%.1f %%) have no answer in the vocabulary"
        logger.info(message, path, unknown, len(known), split, share)
    return [
        {
            "image": question.image,
            "question": question.question,
            "answer": numbers[0] if numbers else -1,
            "answers": numbers,
            "answer_type": ANSWER_TYPES.index(question.answer_type),
            "category": question.category or "",
            "index": index,
            "patient": question.patient,
        }
        for index, (question, numbers) in enumerate(zip(questions, known, strict=True))
    ]


def _known(question: ListedQuestion, vocabulary: AnswerVocabulary) -> list[int]:
    """Numbers of the right answers that the vocabulary has; two wordings of one answer are one."""
    numbers = dict.fromkeys(vocabulary.number(answer) for answer in question.answers)
    return [number for number in numbers if number >= 0]
