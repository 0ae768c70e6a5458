"""What one heat map says of one true region: the numbers that grounding is measured by."""

from __future__ import annotations

import torch
from torch import Tensor

from .ranking import AveragePrecision, Ranking
from .samples import value_of

__all__ = ["LEVELS", "contrast_to_noise", "pixel_precision_of", "pointed_at", "pointed_side", "value_counts"]

LEVELS = 2000
"""Levels of a map in an interval of length 1: thresholds are multiples of 1 / 2000."""

_SAME = 1e-6  # values that differ by less are the same: rounding differs between devices


def pointed_at(values: Tensor, truth: Tensor) -> Tensor:
    """The pointing game: whether any of the highest places, all ties being such, lies in the true region.

    A flat map points nowhere and misses; counted as ties all over, a network that sees nothing would hit always.

    Args:
        values: `[H, W]`, nan where there is no place.
        truth: `[H, W]` bool.

    Returns:
        Scalar bool.
    """
    return (_highest(values) & truth).any()


def pointed_side(values: Tensor, truth: Tensor) -> Tensor:
    """Whether any of the highest places lies in that half of the picture, left or right, where the true region is.

    The line between the halves is the middle of the columns that have places. The region is where its centre is.

    Args:
        values: `[H, W]`, nan where there is no place.
        truth: `[H, W]` bool.

    Returns:
        Scalar bool.
    """
    column = torch.arange(values.shape[1], device=values.device, dtype=torch.float64)
    shown = column[(~values.isnan()).any(0)]
    right_of_middle = column - (shown[0] + shown[-1]) / 2
    centre = (truth.sum(0) * right_of_middle).sum()
    return (_highest(values).any(0) & (right_of_middle * centre > 0)).any()


def contrast_to_noise(inside: Tensor, outside: Tensor) -> Tensor:
    """Difference of the means over the root of the summed variances; 0 for a flat map, nan where a side is empty.

    Args:
        inside: `[N]` values in the true region.
        outside: `[M]` all others.

    Returns:
        Scalar float64.

    Reference: BioViL (arXiv 2204.09817), which takes the absolute difference.
    """
    inside, outside = inside.double(), outside.double()
    if not len(inside) or not len(outside):
        return inside.new_tensor(torch.nan)
    difference = (inside.mean() - outside.mean()).abs()
    noise = (inside.var(correction=0) + outside.var(correction=0)).sqrt()
    return torch.where(difference == 0, difference, difference / noise)


def pixel_precision_of(inside: Tensor, outside: Tensor) -> float:
    """Average precision of the pixels: of the true region `[N]` against all others `[M]`; nan where it is empty."""
    scores = torch.cat([inside, outside]).double().cpu()
    labels = torch.arange(len(scores)) < len(inside)
    return value_of(AveragePrecision(Ranking.of(scores.numpy(), labels.numpy(), torch.arange(len(scores)))))


def value_counts(values: Tensor) -> Tensor:
    """How many values lie in each level.

    Args:
        values: `[N]` in [-1, 1]; what rounding puts beyond counts as the nearest.

    Returns:
        `[2 * LEVELS]` int64: number k counts values in (k / LEVELS - 1, (k + 1) / LEVELS - 1].
    """
    level = ((values.double() + 1) * LEVELS).ceil().long() - 1
    return torch.bincount(level.clamp(0, 2 * LEVELS - 1), minlength=2 * LEVELS)


def _highest(values: Tensor) -> Tensor:
    """The places `[H, W]` bool whose value is the highest; none where all are the same."""
    lowest, highest = values[~values.isnan()].aminmax()
    return (values >= highest - _SAME) & (highest - lowest > _SAME)
