"""Free-response receiver operating characteristic: true boxes found against false positives an image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from .resample_blocks import in_blocks
from .samples import ratio

__all__ = ["RATES", "FrocSensitivity"]

RATES = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)  # false positives an image


@dataclass(frozen=True)
class FrocSensitivity:
    """Mean over rates of the share of true boxes that are found at no more than so many false positives an image.

    A true box is found by a predicted one of its class whose centre lies in it; a false positive lies in none; a second
    find counts for nothing. The operating points are the distinct scores: boxes of equal score come together. Undefined
    without true boxes.

    This is the rule of the Object-CXR challenge (MIDL 2020) on boxes, whose script reads the curve off at the false
    positive with which a rate is reached. `monai.metrics.froc` interpolates between points and leaves out the lowest
    score.

    Attributes:
        image: `[D]` int64, row of the image of each predicted box, by falling score.
        score: `[D]` float64, its score.
        outside: `[D]` bool, whether it is a false positive.
        first: `[D]` int64, true boxes that it is the first to find.
        truths: `[N]` int64, true boxes of each image.
        index: `[N]` int64, number of each image in its data set.
        rates: false positives an image.

    Example:
        >>> score, false = np.array([0.9, 0.8]), np.array([True, False])
        >>> froc = FrocSensitivity(np.array([0, 1]), score, false, np.array([0, 1]), np.ones(2), torch.arange(2))
        >>> froc.resampled(np.array([[1, 1]]))  # half a false positive an image before the first find: 5 of 7 rates
        array([0.35714286])
    """

    image: np.ndarray
    score: np.ndarray
    outside: np.ndarray
    first: np.ndarray
    truths: np.ndarray
    index: Tensor
    rates: tuple[float, ...] = RATES

    def resampled(self, weights: np.ndarray) -> np.ndarray:
        """The metric of each resample: weights `[R, N]` to values `[R]`."""
        return in_blocks(self._block, weights, len(self.image))

    def _block(self, weights: np.ndarray) -> np.ndarray:
        finds, alarms = np.flatnonzero(self.first), np.flatnonzero(self.outside)
        # The last box of each score with a find: elsewhere the curve does not rise.
        points = np.unique(np.searchsorted(-self.score, -self.score[finds], side="right")) - 1
        found = _counts(weights[:, self.image[finds]] * self.first[finds], finds, points)
        false = _counts(weights[:, self.image[alarms]], alarms, points)
        allowed = weights.sum(1)[:, None] * np.array(self.rates)
        last = np.stack([(false <= limit[:, None]).sum(1) for limit in allowed.T], 1)
        best = np.take_along_axis(np.pad(found, ((0, 0), (1, 0))), last, 1)
        return ratio(best, (weights @ self.truths)[:, None]).mean(1)


def _counts(drawn: np.ndarray, positions: np.ndarray, points: np.ndarray) -> np.ndarray:
    """How much was drawn up to each point.

    Args:
        drawn: `[R, P]` numbers of some boxes.
        positions: `[P]` where they stand among all, ascending.
        points: `[Q]` positions up to which, inclusive, is counted.

    Returns:
        `[R, Q]`.
    """
    upto = np.pad(drawn.cumsum(1), ((0, 0), (1, 0)))
    return upto[:, np.searchsorted(positions, points, side="right")]
