"""The numbers behind a metric, item by item: what a bootstrap draws from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

__all__ = ["Sampled", "Samples", "first_of_each", "ratio", "value_of"]


class Sampled(Protocol):
    """A metric that can be computed again for any multiplicities of its items."""

    @property
    def index(self) -> Tensor:
        """`[N]` int64, number in the data set of each item that the metric looks at."""
        ...

    def resampled(self, weights: np.ndarray) -> np.ndarray:
        """Compute the metric of R resamples.

        Args:
            weights: `[R, N]` integers from 0, how often each item is in each resample.

        Returns:
            `[R]` float64; nan where the metric is undefined.
        """
        ...


@dataclass(frozen=True)
class Samples:
    """Values whose plain mean is a metric.

    Attributes:
        values: `[N]` float, one per image or query.
        index: `[N]` int64, number of the item in its data set that each value belongs to.

    Example:
        >>> Samples(torch.tensor([0.0, 1.0]), torch.arange(2)).resampled(np.array([[1, 1], [0, 2]]))
        array([0.5, 1. ])
    """

    values: Tensor
    index: Tensor

    def resampled(self, weights: np.ndarray) -> np.ndarray:
        """The mean of each resample: weights `[R, N]` to values `[R]`."""
        return ratio(weights @ self.values.double().cpu().numpy(), weights.sum(1))


def value_of(sampled: Sampled) -> float:
    """The metric of the items as they are, each once; nan where it is undefined."""
    return float(sampled.resampled(np.ones((1, len(sampled.index)), dtype=np.int64))[0])


def ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Quotient in float64; nan where the denominator is 0."""
    undefined = np.full(np.broadcast_shapes(numerator.shape, denominator.shape), np.nan)
    return np.divide(numerator, denominator, out=undefined, where=denominator != 0)


def first_of_each(ids: Tensor) -> Tensor:
    """Where each distinct id occurs for the first time.

    Args:
        ids: `[N]` int64.

    Returns:
        Ascending positions `[M]` int64, M the number of distinct ids.

    Example:
        >>> first_of_each(torch.tensor([7, 3, 7, 5]))
        tensor([0, 1, 3])
    """
    distinct, inverse = torch.unique(ids, return_inverse=True)
    positions = torch.arange(len(ids), device=ids.device)
    first = torch.full((len(distinct),), len(ids), dtype=torch.int64, device=ids.device)
    return first.scatter_reduce_(0, inverse, positions, "amin").sort().values
