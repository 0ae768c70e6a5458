"""Questions about an image with their answers, as items of a data list."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from scripts.preparing.record import Record

__all__ = ["question_item", "squeezed"]

Item = dict[str, Any]

_TYPES = ("CLOSED", "OPEN")
_CLOSED_ANSWERS = ("yes", "no")


def squeezed(value: Any) -> str:
    """A cell of any kind as text, white space of any length as one space; None is an empty text.

    Example:
        >>> squeezed(" is   this a chest x-ray? ")
        'is this a chest x-ray?'
    """
    return "" if value is None else " ".join(str(value).split())


def question_item(
    where: str,
    record: Record,
    *,
    name: str,
    image: str,
    question: Any,
    answers: Sequence[Any],
    answer_type: Any = None,
    **more: Any,
) -> Item | None:
    """Make the item of one question.

    Args:
        where: where it comes from, for messages.
        record: takes a question without an answer (counted) or that can't be used.
        name: its number or name in the data set, the item's `id` and `qid`.
        image: path relative to the list's `image_root`; the questions of one image share it.
        question: the question.
        answers: the answers that are right, the first of them the item's `answer`; `answers` has all if there are more.
        answer_type: "CLOSED" or "OPEN" in any case, with or without space around it; where the data set has no types,
            a question is closed if its answer is yes or no.
        more: further texts of the item, such as `organ`; empty ones are left out.

    Returns:
        The item, or None where it is left out.

    Raises:
        DataError: the question is empty or its type unknown, and the record stops at the first such item.
    """
    texts = [text for answer in answers if (text := squeezed(answer))]
    asked = squeezed(question)
    if not texts:
        record.drop("question without an answer")
        return None
    kind = squeezed(answer_type).upper() if answer_type is not None else _kind_of(texts[0])
    if not asked or kind not in _TYPES:
        record.reject(where, f"its answer_type '{kind}' is none of {', '.join(_TYPES)}" if asked else "it asks nothing")
        return None
    return {
        "id": name,
        "qid": name,
        "image": image,
        "question": asked,
        "answer": texts[0],
        **({"answers": texts} if len(texts) > 1 else {}),
        "answer_type": kind,
        **{key: text for key, value in more.items() if (text := squeezed(value))},
    }


def _kind_of(answer: str) -> str:
    return "CLOSED" if answer.lower().strip(" .") in _CLOSED_ANSWERS else "OPEN"
