"""How far several metrics of the same items lie apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from .samples import Sampled

__all__ = ["Deviation"]


@dataclass(frozen=True)
class Deviation:
    """Standard deviation (n - 1) of several metrics, each of the same items; undefined where one of them is.

    Attributes:
        parts: two or more metrics.
    """

    parts: Sequence[Sampled]

    @property
    def index(self) -> Tensor:
        """`[N]` int64, number of each item in its data set."""
        return self.parts[0].index

    def resampled(self, weights: np.ndarray) -> np.ndarray:
        """The deviation in each resample: weights `[R, N]` to values `[R]`."""
        return np.std([part.resampled(weights) for part in self.parts], axis=0, ddof=1)
