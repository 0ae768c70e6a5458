"""Whether a probability is the share of items for which it comes true."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from .samples import ratio

__all__ = ["CalibrationError"]

BINS = 15


@dataclass(frozen=True)
class CalibrationError:
    """Expected calibration error in 15 bins of equal width.

    Items are put in bins [k / 15, (k + 1) / 15) of their probability (the last one holds 1 too). The error is the mean
    over bins, weighted by their items, of |share that came true - mean probability|.

    Attributes:
        probability: `[N]` float64 in [0, 1], of the positive class, or of the predicted one.
        outcome: `[N]` bool, whether the item is positive, or the prediction right.
        index: `[N]` int64, number of each item in its data set.

    Reference:
        Guo et al., On Calibration of Modern Neural Networks (ICML 2017), equation 3.

    Example:
        >>> value_of(CalibrationError(np.array([0.9, 0.9]), np.array([True, False]), torch.arange(2)))
        0.4
    """

    probability: np.ndarray
    outcome: np.ndarray
    index: Tensor

    def resampled(self, weights: np.ndarray) -> np.ndarray:
        """The error of each resample: weights `[R, N]` to values `[R]`."""
        bins = np.minimum((self.probability * BINS).astype(np.int64), BINS - 1)
        gaps = np.zeros((len(bins), BINS))
        gaps[np.arange(len(bins)), bins] = self.outcome - self.probability
        return ratio(np.abs(weights @ gaps).sum(1), weights.sum(1))
