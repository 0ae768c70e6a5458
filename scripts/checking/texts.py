"""How long the reports of a data list are and what is asked in it; no word of them is kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from bundle.data.datalist_form import SPLITS
from scripts.checking.annotations import spread
from scripts.preparing.words import count_words

__all__ = ["question_counts", "text_figures"]

_TEXT_KEYS = ("text", "findings", "impression", "caption")


def text_figures(datalist: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Reports by split: how many, how many different ones, and their words.

    Returns:
        By split `texts`, `different`, `without` (items that have none) and `words` (smallest, median, largest); without
        the splits that have no text.
    """
    figures = {}
    for split in SPLITS:
        items = datalist.get(split, ())
        texts = [text for item in items for text in _texts(item)]
        if texts:
            lengths = [count_words({"text": text}) for text in texts]
            without = sum(not any(key in item for key in _TEXT_KEYS) for item in items)
            figures[split] = {
                "texts": len(texts),
                "different": len({*texts}),
                "without": without,
                "words": spread(lengths),
            }
    return figures


def question_counts(datalist: Mapping[str, Any]) -> dict[str, dict[str, int]]:
    """Questions by split, type of answer (`CLOSED`, `OPEN` or `no type`) and, where the list names any, category.

    Questions are items, or lists `questions` of items.

    Returns:
        By split how many of each; without the splits where nothing is asked.
    """
    counts: dict[str, dict[str, int]] = {}
    for split in SPLITS:
        asked = [question for item in datalist.get(split, ()) for question in _questions(item)]
        if asked:
            types = Counter(question.get("answer_type", "no type") for question in asked)
            categories = Counter(f"about {question['category']}" for question in asked if "category" in question)
            counts[split] = {**dict(sorted(types.items())), **dict(categories.most_common())}
    return counts


def _texts(item: Mapping[str, Any]) -> Iterator[str]:
    """The report's texts, white space and case apart; its sections count as one text."""
    text = item.get("text", item.get("caption"))
    if text is None:
        text = " ".join(item[key] for key in ("findings", "impression") if key in item)
    for one in [text] if isinstance(text, str) else text:
        if one:
            yield " ".join(one.lower().split())


def _questions(item: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    if "question" in item:
        yield item
    nested = item.get("questions", [])
    if isinstance(nested, list):
        yield from (question for question in nested if isinstance(question, Mapping))
