"""How well a network tells whether an image and a text belong together."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from .item_metric import ItemMetric
from .ranking import AreaUnderCurve, Ranking
from .samples import Sampled
from .scored_classes import refuse
from .threshold import accuracy_samples

__all__ = ["MatchingMetric"]

_LOGIT, _LABEL = 0, 1  # columns of what is kept of a text


class MatchingMetric(ItemMetric):
    """Accuracy and area under the ROC curve of texts that were judged with their own image or another one.

    Texts that were not judged, because their batch has no other image for them, are left out. Which image a text gets
    depends on its batch: compare values of equal validation batch size only.

    Reference: M3AE (arXiv 2209.07098), section 2.2.

    Example:
        >>> metric = MatchingMetric()
        >>> logits, label = torch.tensor([2.0, -1.0, 0.5]), torch.tensor([1.0, 0.0, float("nan")])
        >>> metric({"matching_logits": logits, "matching_label": label}, {"index": torch.arange(3)})
        >>> metric.aggregate()
        {'matching_accuracy': 1.0, 'matching_auc': 1.0}
    """

    def __call__(self, prediction: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> None:
        """Add a batch.

        Args:
            prediction: see `rows`.
            target: `index` `[B]` int64, number of each text in the data set.
        """
        self.add(self.rows(prediction), target)

    @staticmethod
    def rows(prediction: Mapping[str, Tensor]) -> Tensor:
        """What is kept of texts.

        Args:
            prediction: holds `matching_logits` and `matching_label` `[B]`: 1 for the own image, 0 for another, nan
                where nothing was judged.

        Returns:
            fp32 `[B, 2]`: logit and label.
        """
        return torch.stack([prediction["matching_logits"].detach().float(), prediction["matching_label"].float()], 1)

    def measure(self, rows: Tensor, index: Tensor) -> dict[str, Sampled]:
        """Metrics by name from what is kept of texts `[N, 2]`.

        Returns:
            `matching_accuracy`, of the decision logit > 0, and `matching_auc`.

        Raises:
            ValueError: when a logit is not a number.
        """
        judged = ~rows[:, _LABEL].isnan()
        rows, index = rows[judged], index[judged]
        refuse(rows[:, _LOGIT].isnan(), index, "the prediction", "is not a number: lower the learning rate")
        logits, own = rows[:, _LOGIT].numpy(), rows[:, _LABEL].bool().numpy()
        return {
            "matching_accuracy": accuracy_samples(logits > 0, own, index),
            "matching_auc": AreaUnderCurve(Ranking.of(logits, own, index)),
        }
