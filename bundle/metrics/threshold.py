"""Metrics of a decision, and rules for the threshold that makes it."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from .combined_samples import RatioOfSums
from .samples import Samples, ratio

__all__ = ["accuracy_samples", "best_f1_threshold", "best_mcc_threshold", "f1_samples"]


def f1_samples(predicted: np.ndarray, labels: np.ndarray, index: Tensor) -> RatioOfSums:
    """F1 of one class, 2 TP / (2 TP + FP + FN); undefined where nothing is positive and nothing predicted.

    Args:
        predicted: `[N]` bool.
        labels: `[N]` bool.
        index: `[N]` int64, number of each item in its data set.
    """
    return RatioOfSums(2 * (predicted & labels), predicted.astype(np.int64) + labels, index)


def accuracy_samples(predicted: np.ndarray, labels: np.ndarray, index: Tensor) -> Samples:
    """Share of items whose decision is their label.

    Args:
        predicted: `[N]` bool or class numbers.
        labels: `[N]` of the same kind.
        index: `[N]` int64, number of each item in its data set.
    """
    return Samples(torch.from_numpy((predicted == labels).astype(np.float64)), index)


def best_f1_threshold(scores: np.ndarray, labels: np.ndarray) -> float:
    """The score t for which predicting `score >= t` has the highest F1; of several the lowest.

    Args:
        scores: `[N]` numbers.
        labels: `[N]` bool.

    Returns:
        One of the scores.

    Raises:
        ValueError: when no label is positive.

    Example:
        >>> best_f1_threshold(np.array([0.1, 0.4, 0.35, 0.8]), np.array([False, True, False, True]))
        0.4
    """
    thresholds, hits, predicted = _counts_at_each_score(scores, labels)
    return float(thresholds[(2 * hits / (predicted + labels.sum())).argmax()])


def best_mcc_threshold(scores: np.ndarray, labels: np.ndarray) -> float:
    """The score t for which predicting `score >= t` has the highest Matthews correlation; of several the lowest.

    Where a decision is the same for all items the correlation counts as 0.

    Args:
        scores: `[N]` numbers.
        labels: `[N]` bool.

    Returns:
        One of the scores.

    Raises:
        ValueError: when no label is positive.
    """
    thresholds, hits, predicted = (column.astype(np.float64) for column in _counts_at_each_score(scores, labels))
    count, positive = len(labels), labels.sum()
    # TP TN - FP FN = N TP - (TP + FP)(TP + FN)
    covariance = count * hits - predicted * positive
    spread = np.sqrt(predicted * (count - predicted) * positive * (count - positive))
    return float(thresholds[np.nan_to_num(ratio(covariance, spread)).argmax()])


def _counts_at_each_score(scores: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The distinct scores, rising, and for each the positive items and all items that score at least as high."""
    if not labels.any():
        raise ValueError("a threshold cannot be chosen without positive items; leave this class out")
    thresholds, place = np.unique(scores, return_inverse=True)
    hits = np.bincount(place[labels], minlength=len(thresholds))
    return thresholds, hits[::-1].cumsum()[::-1], np.bincount(place)[::-1].cumsum()[::-1]
