"""How often the own text of an image is ranked first among candidates."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from .item_metric import ItemMetric
from .samples import Sampled, Samples

__all__ = ["CandidateAccuracy"]


class CandidateAccuracy(ItemMetric):
    """Share of images whose own text has the highest score among their candidates.

    Where several share the highest score, each is right with equal probability, so that a network that gives equal
    scores is at chance. An image without another candidate is not looked at.

    Example:
        >>> metric = CandidateAccuracy()
        >>> metric({"candidate_scores": torch.tensor([[2.0, 1.0], [0.0, 0.0]])}, {"index": torch.arange(2)})
        >>> metric.aggregate()
        {'candidate_accuracy': 0.75, 'candidate_accuracy_chance': 0.5}
    """

    def __call__(self, prediction: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> None:
        """Add a batch.

        Args:
            prediction: `candidate_scores` `[B, 1 + K]`, the own text first, -inf where there is no candidate.
            target: `index` `[B]` int64, number in the data set.
        """
        scores = prediction["candidate_scores"].detach().float()
        highest = scores == scores.amax(1, keepdim=True)
        right = highest[:, 0] / highest.sum(1).clamp(min=1)
        self.add(torch.stack([right, (~scores.isneginf()).sum(1)], 1), target)

    def measure(self, rows: Tensor, index: Tensor) -> dict[str, Sampled]:
        """`candidate_accuracy`, in [0, 1], and `candidate_accuracy_chance`, what equal scores give."""
        judged = rows[:, 1] > 1
        rows, index = rows[judged], index[judged]
        return {
            "candidate_accuracy": Samples(rows[:, 0], index),
            "candidate_accuracy_chance": Samples(1 / rows[:, 1], index),
        }
