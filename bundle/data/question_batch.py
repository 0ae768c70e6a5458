"""Batches of questions about images: tokens padded to the longest, answers to as many as the item with most has."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from monai.data import list_data_collate

from bundle.data.errors import DataError
from bundle.data.tokenizer_files import load_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

__all__ = ["CollateQuestions"]

logger = logging.getLogger(__name__)

_READ_HERE = ("question", "answers")


class CollateQuestions:
    """The `collate_fn` of loaders of questions. The tokenizer is loaded on first use in each process.

    Args:
        tokenizer: local folder or hub name, see `load_tokenizer`.
        max_length: tokens, special ones included, at which questions are cut.

    Raises:
        DataError: the tokenizer's closing token would not fit into `max_length`.

    Example:
        >>> collate = CollateQuestions("stores/phantoms/tokenizer")  # doctest: +SKIP
        >>> DataLoader(dataset, batch_size=64, collate_fn=collate)  # doctest: +SKIP
    """

    def __init__(self, tokenizer: str | Path, max_length: int = 32) -> None:
        if max_length < 3:
            raise DataError(f"questions can't be cut at {max_length} tokens, two of which are special; take 3 or more")
        self.source = tokenizer
        self.max_length = max_length

    def __call__(self, items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Collate items of `question_items` whose images were read.

        Args:
            items: dicts with `question` (text) and `answers` (numbers); all else alike, as MONAI's loader collates it.

        Returns:
            `input_ids` and `attention_mask` `[B, L]` int64, padded on the right to the longest question; `answers`
            `[B, M]` int64, -1 where an item has fewer answers than M (M is 1 or more); and the rest, collated.
        """
        encoded = self._tokenizer(
            [item["question"] for item in items],
            truncation=True,
            max_length=self.max_length,
            padding=True,
            padding_side="right",
            return_tensors="pt",
        )
        answers = torch.full((len(items), max(1, *(len(item["answers"]) for item in items))), -1)
        for row, item in enumerate(items):
            answers[row, : len(item["answers"])] = torch.tensor(item["answers"], dtype=torch.int64)
        rest = [{key: value for key, value in item.items() if key not in _READ_HERE} for item in items]
        tokens = {name: encoded[name] for name in ("input_ids", "attention_mask")}
        return {**list_data_collate(rest), **tokens, "answers": answers}

    def count_cut(self, items: Sequence[Mapping[str, Any]]) -> int:
        """How many questions are longer than `max_length` and lose their end; a warning says so where there are any."""
        encoded = self._tokenizer([item["question"] for item in items])
        cut = sum(len(ids) > self.max_length for ids in encoded["input_ids"])
        if cut:
            logger.warning("%d of %d questions have more than %d tokens and are cut", cut, len(items), self.max_length)
        return cut

    @cached_property
    def _tokenizer(self) -> PreTrainedTokenizerFast:
        return load_tokenizer(self.source)

    def __getstate__(self) -> dict[str, Any]:
        """Leaves the tokenizer out, so that a worker loads its own."""
        return {name: value for name, value in self.__dict__.items() if name != "_tokenizer"}
