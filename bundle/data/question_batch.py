"""Batches of questions about images: answers padded to as many as the item with most has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from bundle.data.text_batch import CollateTexts

__all__ = ["CollateQuestions"]


class CollateQuestions(CollateTexts):
    """The `collate_fn` of loaders of questions.

    Args:
        tokenizer: as of `CollateTexts`.
        max_length: tokens, special ones included, at which questions are cut; 32 published.

    Raises:
        DataError: see `CollateTexts`.

    Example:
        >>> collate = CollateQuestions("stores/phantoms/tokenizer")  # doctest: +SKIP
        >>> DataLoader(dataset, batch_size=64, collate_fn=collate)  # doctest: +SKIP
    """

    def __init__(self, tokenizer: str | Path, max_length: int = 32) -> None:
        super().__init__(tokenizer, max_length, key="question")

    def __call__(self, items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Collate items of `question_items` whose images were read.

        Args:
            items: dicts with `question` (text) and `answers` (numbers); all else alike, as MONAI's loader collates it.

        Returns:
            What `CollateTexts` returns, and `answers` `[B, M]` int64, -1 where an item has fewer answers than M (M is 1
            or more).
        """
        answers = torch.full((len(items), max(1, *(len(item["answers"]) for item in items))), -1)
        for row, item in enumerate(items):
            answers[row, : len(item["answers"])] = torch.tensor(item["answers"], dtype=torch.int64)
        rest = [{key: value for key, value in item.items() if key != "answers"} for item in items]
        return {**super().__call__(rest), "answers": answers}
