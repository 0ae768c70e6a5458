"""Which reports say that something is wrong, told from their words on token ids."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from bundle.data.tokenizer_files import load_tokenizer
from bundle.transforms.word_starts import word_starts

__all__ = ["NORMAL_WORDS", "AbnormalReports"]

NORMAL_WORDS = (
    *("no", "not", "without", "neither", "absent", "negative", "free"),
    *("normal", "clear", "unremarkable", "intact", "sharp", "adequate", "well", "midline", "within"),
    *("view", "views", "projection", "radiograph", "radiographs", "obtained"),
)
"""Words of sentences that report nothing abnormal, in English: denials, praise, and how the picture was taken."""


class AbnormalReports:
    """Tell reports with a sentence that none of the given words calls normal.

    A rule of thumb for masks that stay empty where nothing is to be seen, not a labeller: "no change of the effusion"
    counts as normal, "low lung volumes" as abnormal. Works on the host, before a batch goes to its device.

    Args:
        tokenizer: local folder or hub name, whose ids they are; it marks where words begin or go on.
        words: any of them makes a sentence normal.

    Raises:
        DataError: if the tokenizer cannot be loaded.
        ValueError: if it does not mark words.

    Example:
        >>> abnormal = AbnormalReports("stores/phantoms/tokenizer")  # doctest: +SKIP
    """

    def __init__(self, tokenizer: str | Path, words: Sequence[str] = NORMAL_WORDS) -> None:
        loaded = load_tokenizer(tokenizer)
        starts = word_starts(loaded)
        if starts is None:
            raise ValueError(
                f"The tokenizer {tokenizer} does not mark where words begin or go on: take another, or pseudo masks "
                "for all images (configs/masks_from_attention.yaml)."
            )
        self._starts = starts
        # Byte-level tokenizers have other tokens for words behind a space and with a capital.
        bare = [spelling for word in words for spelling in (word, word.capitalize())]
        spellings = [*bare, *(f" {spelling}" for spelling in bare)]
        self._words = sorted({tuple(loaded(word, add_special_tokens=False)["input_ids"]) for word in spellings})

    def __call__(self, input_ids: Tensor, attention_mask: Tensor, sentence: Tensor) -> Tensor:
        """Judge a batch.

        Args:
            input_ids: `[B, L]`, int64, right padded.
            attention_mask: `[B, L]`, 1 for a token.
            sentence: `[B, L]`, number of each token's sentence from 0; -1 for special tokens and padding.

        Returns:
            Bool `[B]`, true for a report with an abnormal sentence.
        """
        numbers = sentence.clamp_min(0)
        told = attention_mask.bool() & (sentence >= 0)
        return (_any_of(told, numbers) & ~_any_of(told & self._begun(input_ids), numbers)).any(1)

    def _begun(self, input_ids: Tensor) -> Tensor:
        """Where one of the words begins, whole and no part of a longer one: bool `[B, L]`."""
        length = input_ids.shape[1]
        begins = F.pad(self._starts[input_ids], (0, 1), value=True)
        found = torch.zeros_like(input_ids, dtype=torch.bool)
        for word in self._words:
            places = length - len(word) + 1
            if places > 0:
                pieces = [input_ids[:, step : step + places] == piece for step, piece in enumerate(word)]
                found[:, :places] |= torch.stack(pieces).all(0) & begins[:, len(word) :]
        return found


def _any_of(tokens: Tensor, numbers: Tensor) -> Tensor:
    """Which sentences have one of the tokens, by the sentence's number: bool `[B, L]`."""
    return torch.zeros(tokens.shape).scatter_add(1, numbers, tokens.float()) > 0
