"""M3AE fine-tuned for retrieval: its matching head learns to rank the own text of an image before others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from bundle.networks.blocks.candidate_texts import CandidateTexts
from bundle.networks.nets.m3ae import M3AE

__all__ = ["MatchingRanker"]

_IDLE = ("image_decoder", "language_head", "alignment")  # parts that ranking does not use


class MatchingRanker(M3AE):
    """An M3AE that scores each image with its own text and some others.

    Every image and every text of a batch is encoded once; fusion runs over the B * (1 + K) pairs. The score is
    `M3AE.match`, the difference of the matching head's two outputs: a Linear(2 D, 1) whose start ranks exactly as the
    pre-trained network does. Published is the head's second row alone, which drops what the first one knows; with the
    difference the weights keep M3AE's names, and both are ranked with in the same way.

    Args:
        candidates: chooses the texts.
        **parts: those of `M3AE`, without masked-image decoder, masked-language head and alignment, which nothing would
            train.

    Raises:
        ValueError: as of `M3AE`, or if one of these three is given.

    Reference: M3AE (arXiv 2209.07098), fine-tuning for retrieval.
    """

    def __init__(self, candidates: CandidateTexts, **parts: Any) -> None:
        super().__init__(**parts)
        if idle := [name for name in _IDLE if getattr(self, name) is not None]:
            raise ValueError(f"Ranking does not train the {idle[0]} of an M3AE; make it null.")
        self.candidates = candidates

    def forward(  # type: ignore[override]
        self,
        image: Tensor,
        input_ids: Tensor,
        attention_mask: Tensor,
        lengths: Sequence[int] | None = None,
        text_id: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Score images.

        Args:
            image: `[B, C, H, W]`, normalised.
            input_ids: int64 `[B, L]`, right padded.
            attention_mask: `[B, L]`, 1 for a token and 0 for padding.
            lengths: token counts, integers of the host; columns beyond the longest are then cut off.
            text_id: int64 `[B]`, equal for equal texts; None: all differ.

        Returns:
            `candidate_scores` `[B, 1 + K]`, fp32, the own text first, -inf where there is no candidate.

        Raises:
            ValueError: if a text is too long for the text encoder or, in training, the batch is too small.
        """
        if lengths is not None:
            longest = max(lengths)
            input_ids, attention_mask = input_ids[:, :longest], attention_mask[:, :longest]
        numbers = torch.arange(len(image), device=image.device) if text_id is None else text_id
        chosen, present = self.candidates(numbers)
        images, texts = self.encode_image(image), self.encode_text(input_ids, attention_mask)
        pairs = chosen.flatten()
        each = images.repeat_interleave(chosen.shape[1], 0)
        scores = self.match(each, texts[pairs], attention_mask[pairs] == 0).view(chosen.shape)
        return {"candidate_scores": scores.masked_fill(~present, float("-inf"))}
