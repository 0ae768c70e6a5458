"""Splits that public code draws with scikit-learn, drawn the same way without it."""

from __future__ import annotations

import math

import numpy as np

__all__ = ["draw_splits"]


def draw_splits(count: int, held_out: float) -> list[str]:
    """Hold out a share, and halve it into test and validation, as GLoRIA and MGCA do.

    They call `train_test_split(rows, test_size=held_out, random_state=0)`, then halve what is held out with
    `test_size=0.5, random_state=0`; the first half is the test split. Each is one permutation by NumPy's legacy
    generator, which never changes.

    Args:
        count: number of rows.
        held_out: share of the rows for both splits, 0 to 1.

    Returns:
        For each row `training`, `validation` or `test`.

    Example:
        >>> draw_splits(5, 0.4)
        ['validation', 'training', 'test', 'training', 'training']
    """
    held = np.random.RandomState(0).permutation(count)[: math.ceil(held_out * count)]
    halved = held[np.random.RandomState(0).permutation(len(held))]
    splits = np.full(count, "training", dtype=object)
    splits[halved] = "test"
    splits[halved[: math.ceil(len(held) / 2)]] = "validation"
    return splits.tolist()
