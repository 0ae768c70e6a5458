"""How long synthetic reports are."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtri

__all__ = ["LONGEST", "MEDIAN", "SIGMA", "report_lengths"]

MEDIAN, SIGMA = 70.0, 0.5
LONGEST = 256
"""Tokens of a report: lognormal, cut at the longest. Mean 79, 95th percentile 159; an assumption, not MIMIC-CXR."""

_SHORTEST = 3  # two special tokens around something


def report_lengths(count: int, rng: np.random.Generator, longest: int = LONGEST) -> np.ndarray:
    """Draws the lengths of the reports of one batch.

    One length comes from each of `count` equal shares of the distribution, so that a small batch has the spread of a
    large one and its cost does not hang on the luck of eight draws.

    Args:
        count: reports.
        rng: where the draws come from.
        longest: longer reports are cut, in tokens.

    Returns:
        int64 `[count]`, ascending, in tokens.

    Example:
        >>> report_lengths(4, np.random.default_rng(0))
        array([46, 55, 71, 90])
    """
    share = (np.arange(count) + rng.random(count)) / count
    tokens = MEDIAN * np.exp(SIGMA * ndtri(share))
    return np.rint(tokens).clip(_SHORTEST, longest).astype(np.int64)
