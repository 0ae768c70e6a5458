"""How well masked words are named."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from .combined_samples import RatioOfSums
from .item_metric import ItemMetric
from .samples import Sampled
from .scored_classes import refuse

__all__ = ["MaskedWordMetric", "Perplexity"]

_UNJUDGED = -100  # label of a place that has no masked word
_ENTROPY, _RIGHT, _WORDS = 0, 1, 2  # columns of what is kept of a report


class Perplexity(RatioOfSums):
    """Exponential of a sum over reports divided by a sum over reports: cross-entropies in nats, and numbers of words.

    Example:
        >>> value_of(Perplexity(np.log([4, 8]), np.array([2, 3]), torch.arange(2)))
        2.0
    """

    def resampled(self, weights: np.ndarray) -> np.ndarray:
        """The perplexity of each resample: weights `[R, N]` to values `[R]`."""
        with np.errstate(over="ignore"):  # beyond a mean of 709 nats it is infinite
            return np.exp(super().resampled(weights))


class MaskedWordMetric(ItemMetric):
    """Accuracy and perplexity over all masked words of a list, however batches or reports share them out.

    A bootstrap draws reports, each with all its words.

    Reference: M3AE (arXiv 2209.07098), section 2.2.

    Example:
        >>> metric = MaskedWordMetric()
        >>> prediction = {"mlm_logits": torch.zeros(1, 2, 8), "mlm_labels": torch.tensor([[3, -100]])}
        >>> metric(prediction, {"index": torch.tensor([0])})
        >>> metric.aggregate()["masked_word_perplexity"]
        8.0
    """

    def __call__(self, prediction: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> None:
        """Add a batch.

        Args:
            prediction: see `rows`.
            target: `index` `[B]` int64, number in the data set.
        """
        self.add(self.rows(prediction), target)

    @staticmethod
    def rows(prediction: Mapping[str, Tensor]) -> Tensor:
        """What is kept of reports.

        Args:
            prediction: holds `mlm_logits` `[B, M, V]` and `mlm_labels`, int64 `[B, M]`, -100 where nothing is judged.

        Returns:
            fp32 `[B, 3]`: the sum of the cross-entropies of a report's masked words, how many of these have the highest
            logit, and how many there are.
        """
        logits, labels = prediction["mlm_logits"].detach().float(), prediction["mlm_labels"]
        entropy = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=_UNJUDGED, reduction="none")
        right = logits.argmax(-1) == labels
        return torch.stack([entropy.view_as(labels).sum(1), right.sum(1), (labels != _UNJUDGED).sum(1)], 1)

    def measure(self, rows: Tensor, index: Tensor) -> dict[str, Sampled]:
        """Metrics by name from what is kept of reports `[N, 3]`.

        Returns:
            `masked_word_accuracy`, the share of words that have the highest logit, and `masked_word_perplexity`, the
            exponential of the mean cross-entropy.

        Raises:
            ValueError: when a cross-entropy is not a number.
        """
        refuse(rows[:, _ENTROPY].isnan(), index, "the prediction", "is not a number: lower the learning rate")
        with_words = rows[:, _WORDS] > 0
        kept, index = rows[with_words].double().numpy(), index[with_words]
        return {
            "masked_word_accuracy": RatioOfSums(kept[:, _RIGHT], kept[:, _WORDS], index),
            "masked_word_perplexity": Perplexity(kept[:, _ENTROPY], kept[:, _WORDS], index),
        }
