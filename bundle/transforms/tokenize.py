"""Turning reports into token ids and sentence numbers."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform

from bundle.data.tokenizer_files import load_tokenizer, save_tokenizer, tokenizer_sha256
from bundle.transforms.report import split_sentences
from bundle.transforms.tokenizer_training import train_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

__all__ = [
    "TokenizeReportd",
    "TokenizedReport",
    "load_tokenizer",
    "save_tokenizer",
    "tokenize_reports",
    "tokenizer_sha256",
    "train_tokenizer",
]


@dataclass(frozen=True)
class TokenizedReport:
    """One report as ids, not padded.

    Attributes:
        input_ids: `[L]` int64.
        sentence: `[L]` int64, number of the sentence that each token belongs to, -1 for special tokens.
    """

    input_ids: np.ndarray
    sentence: np.ndarray


def tokenize_reports(
    tokenizer: PreTrainedTokenizerFast, texts: Sequence[str], max_length: int
) -> list[TokenizedReport]:
    """Turns reports into token ids with special tokens, cut at `max_length`, and numbers each token's sentence."""
    encoded = tokenizer(
        list(texts),
        truncation=True,
        max_length=max_length,
        padding=False,
        return_offsets_mapping=True,
        return_special_tokens_mask=True,
    )
    return [
        TokenizedReport(np.asarray(ids, np.int64), _sentence_numbers(text, offsets, special))
        for text, ids, offsets, special in zip(
            texts, encoded["input_ids"], encoded["offset_mapping"], encoded["special_tokens_mask"], strict=True
        )
    ]


def _sentence_numbers(text: str, offsets: Sequence[tuple[int, int]], special: Sequence[int]) -> np.ndarray:
    """Sentence of each token `[L]`, by its last character: some tokenizers count a leading space to the token."""
    starts = [start for start, _ in split_sentences(text)]
    last = np.asarray([end - 1 for _, end in offsets], np.int64)
    number = np.searchsorted(np.asarray(starts, np.int64), last, side="right") - 1
    return np.where(np.asarray(special, bool), -1, np.maximum(number, 0))


class TokenizeReportd(MapTransform):
    """Tokenises a report text: adds `input_ids`, `attention_mask` and `sentence`, each `[L]` int64.

    For loading without a packed store. `sentence` numbers each token's sentence, -1 for special and pad tokens.

    Args:
        keys: key of the text; it must be one, since the outputs have fixed names.
        tokenizer: local folder or hub name, see `load_tokenizer`.
        max_length: longer reports are cut, special tokens kept.
        pad_to: pads on the right to this length, so that items of different lengths can be collated; by default the
            report keeps its own length.
        allow_missing_keys: lets items without the text pass unchanged.

    Raises:
        DataError: the tokenizer can't be loaded.
        ValueError: more than one key, or `pad_to` below `max_length`.

    Example:
        >>> TokenizeReportd("text", "stores/phantoms/tokenizer", max_length=128, pad_to=128)  # doctest: +SKIP
    """

    def __init__(
        self,
        keys: KeysCollection,
        tokenizer: str | Path,
        max_length: int = 256,
        pad_to: int | None = None,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        if len(self.keys) != 1:
            raise ValueError(f"TokenizeReportd takes one key, got {self.keys}")
        if pad_to is not None and pad_to < max_length:
            raise ValueError(f"pad_to ({pad_to}) must not be below max_length ({max_length})")
        self.tokenizer = load_tokenizer(tokenizer)
        self.max_length = max_length
        self.pad_to = pad_to

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Returns the item with the three arrays added."""
        item = dict(data)
        for key in self.key_iterator(item):
            report = tokenize_reports(self.tokenizer, [item[key]], self.max_length)[0]
            length = len(report.input_ids)
            pad_token = int(self.tokenizer.pad_token_id)
            padding = max((self.pad_to or length) - length, 0)
            item["input_ids"] = _padded(report.input_ids, padding, pad_token)
            item["attention_mask"] = _padded(np.ones(length, np.int64), padding, 0)
            item["sentence"] = _padded(report.sentence, padding, -1)
        return item


def _padded(values: np.ndarray, padding: int, fill: int) -> torch.Tensor:
    return torch.from_numpy(np.pad(values, (0, padding), constant_values=fill))
