"""Batches of images with texts: tokens padded to the longest text of the batch."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from monai.data import list_data_collate

from bundle.data.errors import DataError
from bundle.data.tokenizer_files import load_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

__all__ = ["CollateTexts"]

logger = logging.getLogger(__name__)


class CollateTexts:
    """The `collate_fn` of loaders of images with texts. The tokenizer is loaded on first use in each process.

    Args:
        tokenizer: local folder or hub name, see `load_tokenizer`.
        max_length: tokens, special ones included, at which texts are cut.
        key: of the items' text.

    Raises:
        DataError: the tokenizer's closing token would not fit into `max_length`.

    Example:
        >>> collate = CollateTexts("stores/phantoms/tokenizer", max_length=128)  # doctest: +SKIP
        >>> DataLoader(dataset, batch_size=16, collate_fn=collate)  # doctest: +SKIP
    """

    def __init__(self, tokenizer: str | Path, max_length: int = 128, key: str = "text") -> None:
        if max_length < 3:
            raise DataError(f"texts can't be cut at {max_length} tokens, two of which are special; take 3 or more")
        self.source = tokenizer
        self.max_length = max_length
        self.key = key

    def __call__(self, items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Collate items whose images were read.

        Args:
            items: dicts with a text under `key`; all else alike, as MONAI's loader collates it.

        Returns:
            `input_ids` and `attention_mask` `[B, L]` int64, padded on the right to the longest text; and the rest,
            collated.
        """
        encoded = self._tokenizer(
            [item[self.key] for item in items],
            truncation=True,
            max_length=self.max_length,
            padding=True,
            padding_side="right",
            return_tensors="pt",
        )
        rest = [{key: value for key, value in item.items() if key != self.key} for item in items]
        return {**list_data_collate(rest), **{name: encoded[name] for name in ("input_ids", "attention_mask")}}

    def count_cut(self, items: Sequence[Mapping[str, Any]], split: str) -> int:
        """How many texts of a split are longer than `max_length` and lose their end; a warning says so if any are."""
        encoded = self._tokenizer([item[self.key] for item in items])
        cut = sum(len(ids) > self.max_length for ids in encoded["input_ids"])
        if cut:
            message = "%d of %d texts of %s have more than %d tokens and are cut"
            logger.warning(message, cut, len(items), split, self.max_length)
        return cut

    @cached_property
    def _tokenizer(self) -> PreTrainedTokenizerFast:
        return load_tokenizer(self.source)

    def __getstate__(self) -> dict[str, Any]:
        """Leaves the tokenizer out, so that a worker loads its own."""
        return {name: value for name, value in self.__dict__.items() if name != "_tokenizer"}
