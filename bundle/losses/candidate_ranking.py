"""The own text of an image among candidates."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["CandidateRankingLoss"]


class CandidateRankingLoss(nn.Module):
    """Cross-entropy over the scores of an image's candidates, the first of which is right.

    Every image counts the same, so DDP's averages over equal shards are those of the joined batch. An image without
    another candidate has the loss 0.

    Reference: M3AE (arXiv 2209.07098), fine-tuning for retrieval.
    """

    def forward(self, prediction: Mapping[str, Tensor], target: Mapping[str, Tensor] | None = None) -> Tensor:
        """Compute the loss in fp32.

        Args:
            prediction: holds `candidate_scores` `[B, 1 + K]`, the right one first, -inf where there is no candidate.
            target: not read.

        Returns:
            Scalar; ln (1 + K) for equal scores.
        """
        scores = prediction["candidate_scores"].float()
        return F.cross_entropy(scores, torch.zeros(len(scores), dtype=torch.int64, device=scores.device))
