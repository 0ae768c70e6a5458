"""Confidence interval of a metric when the items of one patient belong together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["bootstrap_interval"]

_CELLS_AT_ONCE = 500_000  # weights of one block of resamples: 4 MB, which processors keep close


def bootstrap_interval(
    resampled: Callable[[np.ndarray], np.ndarray],
    count: int,
    groups: Sequence[Any] | ArrayLike | None = None,
    resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> tuple[float, float]:
    """Percentile bootstrap interval of a metric, drawing whole groups with replacement.

    Images of one patient resemble each other; drawing images one by one would make the interval too narrow. Each
    resample draws as many groups as there are and computes the metric of all their items. Resamples in which the metric
    is undefined (nan) are left out.

    Args:
        resampled: the metric of R resamples from the multiplicities `[R, N]` of the items, as `Sampled.resampled`.
        count: number of items N.
        groups: `[N]` the patient of each item; without it each item is a group of its own.
        resamples: number of resamples.
        seed: seed of the draws; the same seed gives the same interval.
        level: share of the resamples' values inside the interval, in (0, 1).

    Returns:
        Lower and upper bound; nan where the metric is undefined in every resample.

    Raises:
        ValueError: when there are no items, or `groups` has another length.

    Reference:
        Davison and Hinkley, Bootstrap Methods and their Application (1997), sections 3.8 and 5.3.

    Example:
        >>> values = np.array([1.0, 1.0, 1.0])
        >>> bootstrap_interval(lambda weights: weights @ values / weights.sum(1), 3, groups=["a", "a", "b"])
        (1.0, 1.0)
    """
    group_of = _group_numbers(count, groups)
    blocks = _multiplicities(int(group_of.max()) + 1, resamples, max(1, _CELLS_AT_ONCE // count), seed)
    values = np.concatenate([resampled(drawn[:, group_of]) for drawn in blocks])
    defined = values[~np.isnan(values)]
    if not len(defined):
        return np.nan, np.nan
    tail = (1 - level) / 2
    low, high = np.quantile(defined, [tail, 1 - tail])
    return float(low), float(high)


def _group_numbers(count: int, groups: Sequence[Any] | ArrayLike | None) -> np.ndarray:
    """Group of each item, `[N]`, numbered from 0."""
    if count < 1:
        raise ValueError("a bootstrap needs at least one item, got none; leave this metric without an interval")
    if groups is None:
        return np.arange(count)
    names = np.asarray(groups)
    if len(names) != count:
        raise ValueError(f"a bootstrap got {count} items but {len(names)} groups; give one group an item")
    return np.unique(names, return_inverse=True)[1]


def _multiplicities(groups: int, resamples: int, at_once: int, seed: int) -> Iterator[np.ndarray]:
    """How often each group is drawn in each resample, in blocks `[at_once, groups]`; their size changes no draw."""
    generator = np.random.default_rng(seed)
    for start in range(0, resamples, at_once):
        rows = min(at_once, resamples - start)
        drawn = generator.integers(groups, size=(rows, groups))
        drawn += groups * np.arange(rows)[:, None]
        yield np.bincount(drawn.ravel(), minlength=rows * groups).reshape(rows, groups)
