"""Whether affirming a class fits those who have it better than denying it does."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from .samples import ratio

__all__ = ["Polarity"]


@dataclass(frozen=True)
class Polarity:
    """1 where the mean margin of a class's positive items is above 0, else 0; undefined without items.

    Attributes:
        margins: `[N]` similarity to affirming prompts less that to denying ones, of the positive items; nan where there
            are no denying prompts, which makes this undefined.
        index: `[N]` int64, number of each item in its data set.
    """

    margins: np.ndarray
    index: Tensor

    def resampled(self, weights: np.ndarray) -> np.ndarray:
        """0 or 1 for each resample: weights `[R, N]` to values `[R]`."""
        mean = ratio(weights @ self.margins, weights.sum(1))
        return np.where(np.isnan(mean), np.nan, mean > 0)
