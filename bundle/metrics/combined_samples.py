"""Metrics that are no plain mean over items: quotients of sums, and means over classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .samples import Sampled, ratio

__all__ = ["MacroMean", "RatioOfSums", "over_classes"]


@dataclass(frozen=True)
class RatioOfSums:
    """Sum over items divided by sum over items; with several columns the mean of their quotients.

    Undefined where the denominator of any column is 0.

    Attributes:
        numerator: `[N]` or `[N, M]` numbers.
        denominator: the same shape, from 0.
        index: `[N]` int64, number of each item in its data set.

    Example:
        >>> dice = RatioOfSums(np.array([2, 8]), np.array([8, 8]), torch.arange(2))
        >>> dice.resampled(np.array([[1, 1], [1, 0]]))
        array([0.625, 0.25 ])
    """

    numerator: np.ndarray
    denominator: np.ndarray
    index: Tensor

    def resampled(self, weights: np.ndarray) -> np.ndarray:
        """The quotient of each resample: weights `[R, N]` to values `[R]`."""
        quotients = ratio(weights @ self.numerator, weights @ self.denominator)
        return quotients.reshape(len(weights), -1).mean(1)


@dataclass(frozen=True)
class MacroMean:
    """Unweighted mean of one metric over several classes, each on the items that it knows.

    A class for which the metric is undefined is left out, in the list itself as in each resample.

    Attributes:
        parts: the metric of each class.
        positions: for each class where its items stand in `index`, `[N_k]` int64.
        index: `[N]` int64 ascending, number in the data set of the items of any class.
    """

    parts: tuple[Sampled, ...]
    positions: tuple[np.ndarray, ...]
    index: Tensor

    @classmethod
    def of(cls, parts: Sequence[Sampled]) -> MacroMean:
        """Join classes by the numbers of their items.

        Args:
            parts: the metric of each class, at least one; each names an item once.
        """
        index = torch.cat([part.index for part in parts]).unique()
        positions = tuple(torch.searchsorted(index, part.index).numpy() for part in parts)
        return cls(tuple(parts), positions, index)

    def resampled(self, weights: np.ndarray) -> np.ndarray:
        """The mean of each resample: weights `[R, N]` to values `[R]`."""
        total = np.zeros(len(weights))
        defined = np.zeros(len(weights), dtype=np.int64)
        for part, positions in zip(self.parts, self.positions, strict=True):
            values = part.resampled(weights[:, positions])
            known = ~np.isnan(values)
            total += np.where(known, values, 0)
            defined += known
        return ratio(total, defined)


def over_classes(suffixes: Sequence[str], classes: Sequence[Mapping[str, Sampled]]) -> dict[str, Sampled]:
    """Name the same metrics of several classes.

    Args:
        suffixes: name of each of K classes as part of a metric's name.
        classes: the metrics of each class, under equal names.

    Returns:
        For one class its metrics as they are. For several their `MacroMean` under each name, and those of each class
        under the name with `_` and the class's suffix behind.
    """
    if len(classes) == 1:
        return dict(classes[0])
    result: dict[str, Sampled] = {name: MacroMean.of([one[name] for one in classes]) for name in classes[0]}
    for suffix, one in zip(suffixes, classes, strict=True):
        result |= {f"{name}_{suffix}": sampled for name, sampled in one.items()}
    return result
