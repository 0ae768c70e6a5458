"""Batches of synthetic pairs, as a packed store gives them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from scripts.benching.lengths import report_lengths

__all__ = ["SyntheticPairs"]


class SyntheticPairs(Dataset[dict[str, Any]]):
    """Draws noise images and random tokens, shaped like the batches of `PackedDataset`.

    Two data sets of one seed give the same batches in the same order, whatever their padding is.

    Args:
        count: pairs; with a sampler of as many, an epoch is one batch.
        size: S, side of the images in pixels.
        vocab_size: tokens are drawn below it.
        max_length: longest report in tokens.
        pad_to: padded length; None pads to the longest report of the batch.
        lengths_known: whether batches state the lengths of their reports. Without them (`lengths` is None) the text
            encoder works on all padding, as the published code does.
        seed: of the first batch.
    """

    def __init__(
        self,
        count: int,
        size: int,
        vocab_size: int,
        max_length: int,
        pad_to: int | None = None,
        lengths_known: bool = True,
        seed: int = 0,
    ) -> None:
        self.count = count
        self.size = size
        self.vocab_size = vocab_size
        self.max_length = max_length
        self.pad_to = pad_to
        self.lengths_known = lengths_known
        self.rng = np.random.default_rng(seed)

    def __len__(self) -> int:
        return self.count

    def __getitems__(self, indices: Sequence[int]) -> dict[str, Any]:
        """The next batch, of as many pairs as there are indices."""
        batch = len(indices)
        shape = (batch, 1, self.size, self.size)
        image = torch.from_numpy(self.rng.integers(0, 256, shape, np.uint8))
        body = torch.zeros(shape, dtype=torch.bool)
        margin = self.size // 8
        body[..., margin:, margin : self.size - margin] = True
        numbers = torch.arange(batch)
        names = {"index": numbers, "text_id": numbers, "study_id": numbers, "id": [str(row) for row in range(batch)]}
        return {"image": image, "body": body, **names, **self._reports(batch)}

    def _reports(self, batch: int) -> dict[str, Any]:
        lengths = report_lengths(batch, self.rng, self.max_length)
        words = self.rng.integers(1, self.vocab_size, (batch, self.max_length))
        width = self.pad_to or int(lengths[-1])
        within = np.arange(width) < lengths[:, None]
        return {
            "input_ids": torch.from_numpy(np.where(within, words[:, :width], 0)),
            "attention_mask": torch.from_numpy(within.astype(np.int64)),
            "lengths": lengths.tolist() if self.lengths_known else None,
        }
