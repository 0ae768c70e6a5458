"""Masking of words on token ids: a fixed number of places per batch, so that no device is asked how many there are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bundle.data.errors import DataError
from bundle.data.tokenizer_files import load_tokenizer
from bundle.transforms.word_starts import word_starts

__all__ = ["MaskNamedWords", "MaskTokens", "MaskWords"]

_UNJUDGED = -100


class MaskTokens:
    """Mask sub-words of reports.

    Of each report's real tokens the share, rounded, is chosen at random, one at least; special tokens and padding
    never are. 80 % of those become the mask token, 10 % a random word of the vocabulary, 10 % stay as they are. A
    report without real tokens has nothing masked.

    Works on the host and on any device, which it asks nothing.

    Reference: M3AE (arXiv 2209.07098), section 2.2, and BERT (arXiv 1810.04805); unlike the public code, the share is
    of real tokens and no report stays whole.

    Args:
        tokenizer: local folder or hub name, whose ids they are.
        share: of a report's real tokens.
        seed: None draws from torch's global generator; a number makes every call draw the same, for evaluation.

    Raises:
        ValueError: if the share is not in (0, 1], or the tokenizer has no mask token.
        DataError: if the tokenizer cannot be loaded.

    Example:
        >>> masked = MaskTokens("stores/phantoms/tokenizer")(batch["input_ids"], batch["attention_mask"])
        >>> sorted(masked)
        ['masked_ids', 'masked_labels', 'masked_positions']
    """

    surplus = 0  # places beyond the share

    def __init__(self, tokenizer: str | Path, share: float = 0.15, seed: int | None = None) -> None:
        if not 0 < share <= 1:
            raise ValueError(f"The share of masked tokens must lie above 0 and not above 1; it is {share}.")
        loaded = load_tokenizer(tokenizer)
        if loaded.mask_token_id is None:
            raise ValueError(f"The tokenizer {tokenizer} has no mask token; take one of a masked-language model.")
        self.share = share
        self.seed = seed
        self._mask_token = loaded.mask_token_id
        self._special = torch.zeros(len(loaded), dtype=torch.bool)
        self._special[loaded.all_special_ids] = True
        self._ordinary = (~self._special).nonzero()[:, 0]
        self._prepare(loaded)

    def __call__(self, input_ids: Tensor, attention_mask: Tensor) -> dict[str, Tensor]:
        """Mask a batch.

        Args:
            input_ids: int64 `[B, L]`.
            attention_mask: `[B, L]`, 1 for a token.

        Returns:
            `masked_ids` `[B, L]`; `masked_positions` `[B, M]`, all different within a report; `masked_labels` `[B, M]`,
            the ids that were there, -100 where a place is not used. All int64; M follows from L alone.
        """
        generator = None if self.seed is None else torch.Generator(input_ids.device).manual_seed(self.seed)
        positions, chosen = self._choose(input_ids, attention_mask, generator)
        before = input_ids.gather(1, positions)
        after = torch.where(chosen, self._replace(before, generator), before)
        return {
            "masked_ids": input_ids.scatter(1, positions, after),
            "masked_positions": positions,
            "masked_labels": before.masked_fill(~chosen, _UNJUDGED),
        }

    def _choose(
        self, input_ids: Tensor, attention_mask: Tensor, generator: torch.Generator | None
    ) -> tuple[Tensor, Tensor]:
        """Positions `[B, M]`, and which of them are to be masked."""
        batch, length = input_ids.shape
        real = attention_mask.bool() & ~self._special.to(input_ids.device)[input_ids]
        words = self._words(input_ids)
        score = torch.rand(batch, length, device=input_ids.device, generator=generator).gather(1, words)
        # Words in random order, each with its tokens in theirs, and last what may not be masked.
        order = score.masked_fill(~real, 2.0).argsort(dim=1, stable=True)
        word, place = words.gather(1, order), torch.arange(length, device=input_ids.device)
        begins = torch.ones_like(word, dtype=torch.bool)
        begins[:, 1:] = word[:, 1:] != word[:, :-1]
        start = torch.where(begins, place, 0).cummax(1).values
        count = (self.share * real.sum(1, keepdim=True)).round().clamp(min=1)
        chosen = real.gather(1, order) & (start < count)
        places = min(length, max(1, round(self.share * length)) + self.surplus)
        return order[:, :places], chosen[:, :places]

    def _replace(self, before: Tensor, generator: torch.Generator | None) -> Tensor:
        """What stands in for masked ids."""
        draw = torch.rand(before.shape, device=before.device, generator=generator)
        ordinary = self._ordinary.to(before.device)
        number = torch.randint(len(ordinary), before.shape, device=before.device, generator=generator)
        replaced = torch.where(draw < 0.9, ordinary[number], before)
        return replaced.masked_fill(draw < 0.8, self._mask_token)

    def _prepare(self, tokenizer: Any) -> None:
        """Read what else `_words` needs."""

    def _words(self, input_ids: Tensor) -> Tensor:
        """Number of the word that each token belongs to, int64 `[B, L]`, ascending from 0: every token is its own."""
        return torch.arange(input_ids.shape[1], device=input_ids.device).expand_as(input_ids)


class MaskWords(MaskTokens):
    """Mask whole words: all tokens of a word or none, as the marks of the tokenizer tell them apart.

    The last word that begins within the share is masked whole, so slightly more than the share is; a word of which more
    than 16 tokens lie beyond it loses the rest.
    """

    surplus = 16

    def _prepare(self, tokenizer: Any) -> None:
        starts = word_starts(tokenizer)
        if starts is None:
            raise ValueError("The tokenizer does not mark where words begin or go on; take MaskTokens.")
        self._starts = starts

    def _words(self, input_ids: Tensor) -> Tensor:
        return (self._starts.to(input_ids.device)[input_ids].cumsum(1) - 1).clamp_min(0)


class MaskNamedWords(MaskTokens):
    """Mask every occurrence of some words at once, and no other: what the rest of a report may not give away.

    Of words that an image decides, such as the sides, it tells how much a network takes from the image: a report says
    "left" more than once, and one of them tells the others. All of them become the mask token.

    Args:
        tokenizer: local folder or hub name, whose ids they are.
        words: words that are single tokens.

    Raises:
        DataError: if the tokenizer cannot be loaded or has no such token.

    Example:
        >>> mask = MaskNamedWords("stores/phantoms/tokenizer", ["left", "right"])  # doctest: +SKIP
    """

    def __init__(self, tokenizer: str | Path, words: Sequence[str]) -> None:
        super().__init__(tokenizer, share=1.0, seed=0)
        loaded = load_tokenizer(tokenizer)
        pieces = {word: loaded(word, add_special_tokens=False)["input_ids"] for word in words}
        if broken := [word for word, ids in pieces.items() if len(ids) != 1 or ids[0] == loaded.unk_token_id]:
            raise DataError(f"tokenizer {tokenizer}: '{broken[0]}' is no single token of it; name words that are")
        self._named = torch.zeros(len(loaded), dtype=torch.bool)
        self._named[[ids[0] for ids in pieces.values()]] = True

    def _choose(
        self, input_ids: Tensor, attention_mask: Tensor, generator: torch.Generator | None
    ) -> tuple[Tensor, Tensor]:
        named = self._named.to(input_ids.device)[input_ids] & attention_mask.bool()
        order = (~named).to(torch.uint8).argsort(dim=1, stable=True)
        return order, named.gather(1, order)

    def _replace(self, before: Tensor, generator: torch.Generator | None) -> Tensor:
        return torch.full_like(before, self._mask_token)
