"""Where words begin among a tokenizer's tokens."""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

__all__ = ["word_starts"]

_MARKS = {"##": False, "Ġ": True, "▁": True}  # what WordPiece, byte-level BPE and SentencePiece put before tokens, and
#                                                whether it tells the start of a word or its continuation


def word_starts(tokenizer: PreTrainedTokenizerFast) -> Tensor | None:
    """Tell which tokens begin a word: bool `[V]`, true also for signs and special tokens.

    None for a tokenizer that does not mark where words begin or go on.
    """
    tokens = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
    mark = next((mark for mark in _MARKS if any(token.startswith(mark) for token in tokens)), None)
    if mark is None:
        return None
    starts = torch.tensor(
        [token.startswith(mark) == _MARKS[mark] or not token.lstrip("#")[:1].isalnum() for token in tokens]
    )
    starts[tokenizer.all_special_ids] = True
    return starts
