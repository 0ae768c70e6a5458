"""Random subsets of a report's sentences, drawn on token ids."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["SentenceSubset"]


class SentenceSubset:
    """Leave out sentences of reports at random: the tokens that stay close ranks, at least one sentence stays.

    Works on the host, before a batch goes to its device.

    Args:
        p: probability that a report is thinned; one that is keeps each of its sentences with probability 1/2.
        pad: token id that fills the end of the shortened rows.
    """

    def __init__(self, p: float = 0.5, pad: int = 0) -> None:
        self.p = p
        self.pad = pad

    def __call__(self, input_ids: Tensor, attention_mask: Tensor, sentence: Tensor) -> tuple[Tensor, Tensor, list[int]]:
        """Thin a batch.

        Args:
            input_ids: `[B, L]`, int64, right padded.
            attention_mask: `[B, L]`, 1 for a token.
            sentence: `[B, L]`, number of each token's sentence from 0; -1 for special tokens and padding.

        Returns:
            `input_ids` and `attention_mask` of `[B, L]` and the new lengths.
        """
        batch, length = input_ids.shape
        count = int(sentence.max().clamp_min(0)) + 1
        draw = torch.rand(batch, count)
        exists = torch.arange(count) <= sentence.amax(1, keepdim=True)
        favourite = torch.where(exists, draw, -1.0).argmax(1, keepdim=True)
        stays = (draw > 0.5).scatter(1, favourite, True) | (torch.rand(batch, 1) >= self.p)
        keep = attention_mask.bool() & (stays.gather(1, sentence.clamp_min(0)) | (sentence < 0))
        order = (~keep).to(torch.uint8).argsort(dim=1, stable=True)
        lengths = keep.sum(1)
        kept = torch.arange(length) < lengths[:, None]
        ids = input_ids.gather(1, order).masked_fill(~kept, self.pad)
        return ids, kept.to(attention_mask.dtype), lengths.tolist()
