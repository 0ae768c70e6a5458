"""How well scores put positive items before negative ones: area under the ROC curve, average precision.

Both are computed for many resamples at once. Items are sorted once; for each positive item it is then known between
which of the sorted negative and positive items it stands, so that a resample costs one cumulative sum of its weights.
Weights are summed as integers, hence exactly, also where scores are equal.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from .samples import ratio

__all__ = ["AreaUnderCurve", "AveragePrecision", "Ranking"]


@dataclass(frozen=True)
class Ranking:
    """Places of the positive items of one class among all its items, by rising score.

    Attributes:
        positives: positions `[P]` of the positive items by rising score.
        negatives: positions `[M]` of the negative items by rising score.
        negatives_below: for each positive item the number of negatives with a lower score, `[P]`.
        negatives_up_to: the same with a lower or equal score, `[P]`.
        positives_below: for each positive item the number of positives with a lower score, `[P]`.
        index: `[N]` int64, number of each item in its data set.
    """

    positives: np.ndarray
    negatives: np.ndarray
    negatives_below: np.ndarray
    negatives_up_to: np.ndarray
    positives_below: np.ndarray
    index: Tensor

    @classmethod
    def of(cls, scores: np.ndarray, labels: np.ndarray, index: Tensor) -> Ranking:
        """Sort the items.

        Args:
            scores: `[N]` numbers, higher for items held positive; nan is not allowed.
            labels: `[N]` bool.
            index: `[N]` int64, number of each item in its data set.
        """
        order = scores.argsort(kind="stable")
        positives, negatives = order[labels[order]], order[~labels[order]]
        own, other = scores[positives], scores[negatives]
        return cls(
            positives,
            negatives,
            other.searchsorted(own, "left"),
            other.searchsorted(own, "right"),
            own.searchsorted(own, "left"),
            index,
        )


@dataclass(frozen=True)
class _OfRanking:
    """What a figure of a ranking knows of its items."""

    ranking: Ranking

    @property
    def index(self) -> Tensor:
        """`[N]` int64, number of each item in its data set."""
        return self.ranking.index


class AreaUnderCurve(_OfRanking):
    """Area under the ROC curve: how often a positive item scores higher than a negative one, ties counting one half.

    Undefined without positive or without negative items.

    Example:
        >>> ranking = Ranking.of(np.array([0.1, 0.4, 0.4]), np.array([False, True, False]), torch.arange(3))
        >>> value_of(AreaUnderCurve(ranking))
        0.75
    """

    def resampled(self, weights: np.ndarray) -> np.ndarray:
        """The area of each resample: weights `[R, N]` to values `[R]`."""
        ranking = self.ranking
        positive = weights[:, ranking.positives]
        negative = _cumulated(weights[:, ranking.negatives])
        twice = negative[:, ranking.negatives_below] + negative[:, ranking.negatives_up_to]
        won = np.einsum("rp,rp->r", positive, twice)
        return ratio(won, 2 * positive.sum(1) * negative[:, -1])


class AveragePrecision(_OfRanking):
    """Mean over positive items of the precision among all items that score at least as high, without interpolation.

    Undefined without positive items; 1 without negative ones.

    Example:
        >>> ranking = Ranking.of(np.array([0.1, 0.4, 0.4]), np.array([False, True, False]), torch.arange(3))
        >>> value_of(AveragePrecision(ranking))
        0.5
    """

    def resampled(self, weights: np.ndarray) -> np.ndarray:
        """The average precision of each resample: weights `[R, N]` to values `[R]`."""
        ranking = self.ranking
        weight = weights[:, ranking.positives]
        positive, negative = _cumulated(weight), _cumulated(weights[:, ranking.negatives])
        hits = positive[:, -1:] - positive[:, ranking.positives_below]
        false = negative[:, -1:] - negative[:, ranking.negatives_below]
        # An item that is not in the resample weighs nothing; its precision may be 0 / 0.
        precision = hits / np.maximum(hits + false, 1)
        return ratio(np.einsum("rp,rp->r", weight, precision), positive[:, -1])


def _cumulated(weights: np.ndarray) -> np.ndarray:
    """Sum of the first n weights of each row, for n = 0 .. N: `[R, N]` to `[R, N + 1]`."""
    sums = np.zeros((len(weights), weights.shape[1] + 1), dtype=weights.dtype)
    np.cumsum(weights, axis=1, out=sums[:, 1:])
    return sums
