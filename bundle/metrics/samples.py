"""The numbers behind a metric, one per image or query: what a bootstrap draws from."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Samples", "first_of_each"]


@dataclass(frozen=True)
class Samples:
    """Values whose plain mean is a metric.

    Attributes:
        values: `[N]` float, one per image or query.
        index: `[N]` int64, number of the item in its data set that each value belongs to.
    """

    values: Tensor
    index: Tensor


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
