"""Resamples in blocks, for metrics whose memory grows with resamples times predictions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

__all__ = ["in_blocks"]

_CELLS_AT_ONCE = 4_000_000  # some 100 MB for the few arrays of this size that a metric holds at a time


def in_blocks(
    measure: Callable[[np.ndarray], np.ndarray], weights: np.ndarray, width: int, cells: int = _CELLS_AT_ONCE
) -> np.ndarray:
    """Compute a metric of many resamples, a few at a time.

    Args:
        measure: weights `[r, N]` to values `[r]`, with arrays of r times `width` numbers.
        weights: `[R, N]` how often each item is in each resample, R at least 1.
        width: see `measure`.
        cells: numbers in such an array, about.

    Returns:
        `[R]` values.
    """
    rows = max(1, cells // max(1, width))
    return np.concatenate([measure(weights[start : start + rows]) for start in range(0, len(weights), rows)])
