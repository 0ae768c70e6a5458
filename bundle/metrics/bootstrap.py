"""Confidence interval of a mean when the values of one patient belong together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["bootstrap_interval"]

_DRAWS_AT_ONCE = 4_000_000  # bounds the memory of one block of resamples to about 100 MB


def bootstrap_interval(
    values: ArrayLike,
    groups: Sequence[Any] | ArrayLike | None = None,
    resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean, drawing whole groups with replacement.

    Images of one patient resemble each other; drawing images one by one would make the interval too narrow. Each
    resample draws as many groups as there are and takes the mean of all their values.

    Args:
        values: `[N]` finite numbers.
        groups: `[N]` the patient of each value; without it each value is a group of its own.
        resamples: number of resamples.
        seed: seed of the draws; the same seed gives the same interval.
        level: share of resampled means inside the interval, in (0, 1).

    Returns:
        Lower and upper bound.

    Raises:
        ValueError: when there are no values, one is not finite, or `groups` has another length.

    Reference:
        Davison and Hinkley, Bootstrap Methods and their Application (1997), sections 3.8 and 5.3.

    Example:
        >>> bootstrap_interval([1.0, 1.0, 1.0], groups=["a", "a", "b"])
        (1.0, 1.0)
    """
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.ndim != 1 or not len(numbers) or not np.isfinite(numbers).all():
        raise ValueError(f"a bootstrap needs a list of finite values, got shape {numbers.shape}; leave the others out")
    sums, sizes = _group_totals(numbers, groups)
    generator = np.random.default_rng(seed)
    at_once = max(1, _DRAWS_AT_ONCE // len(sums))
    means = []
    for start in range(0, resamples, at_once):
        drawn = generator.integers(len(sums), size=(min(at_once, resamples - start), len(sums)))
        means.append(sums[drawn].sum(1) / sizes[drawn].sum(1))
    tail = (1 - level) / 2
    low, high = np.quantile(np.concatenate(means), [tail, 1 - tail])
    return float(low), float(high)


def _group_totals(values: np.ndarray, groups: Sequence[Any] | ArrayLike | None) -> tuple[np.ndarray, np.ndarray]:
    """Sum and number of the values of each group."""
    if groups is None:
        return values, np.ones(len(values))
    names = np.asarray(groups)
    if len(names) != len(values):
        raise ValueError(f"a bootstrap got {len(values)} values but {len(names)} groups; give one group a value")
    _, number = np.unique(names, return_inverse=True)
    return np.bincount(number, weights=values), np.bincount(number).astype(np.float64)
