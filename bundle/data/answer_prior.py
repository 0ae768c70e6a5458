"""How far one gets with the most frequent answer to each kind of question, seeing neither image nor question."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any

__all__ = ["prior_scores"]

_OPENING = 2  # words that tell kinds of questions apart, such as "is there", "how large", "which side"


def prior_scores(training: Sequence[Mapping[str, Any]], items: Sequence[Mapping[str, Any]]) -> list[float]:
    """Answer every question by the most frequent training answer of its kind.

    The kind is the answer type with the list's category, or where the list has none, with the question's first two
    words. A kind that training lacks is answered as its answer type, this as all questions together. Of answers equally
    frequent the one with the lower number is given.

    Reference: the "per question-type prior" of VQA (Antol et al., ICCV 2015), section 5.1.

    Args:
        training: what `question_items` returned for training.
        items: what it returned, with the same vocabulary, for the split that is evaluated.

    Returns:
        Of each item 1 where the answer is right, else 0; for `VqaMetric(prior=...)`.
    """
    counts: dict[Hashable, Counter[int]] = defaultdict(Counter)
    for item in training:
        for kind in _kinds(item):
            counts[kind].update(item["answers"])
    answers = {kind: min(count, key=lambda number: (-count[number], number)) for kind, count in counts.items() if count}
    return [float(_answer(item, answers) in item["answers"]) for item in items]


def _answer(item: Mapping[str, Any], answers: Mapping[Hashable, int]) -> int:
    return next((answers[kind] for kind in _kinds(item) if kind in answers), -1)


def _kinds(item: Mapping[str, Any]) -> Iterator[Hashable]:
    """From the narrowest kind to the widest."""
    yield item["answer_type"], item["category"] or " ".join(item["question"].lower().split()[:_OPENING])
    yield item["answer_type"]
    yield "all"
