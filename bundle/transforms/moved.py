"""Moving what lies on pixels by whole pixels."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["moved"]


def moved(pixels: Tensor, by: int) -> Tensor:
    """Move pixels `[..., H, W]` of any dtype down and right by as many px; behind them the edge goes on.

    Example:
        >>> moved(torch.tensor([[1, 2], [3, 4]]), -1)
        tensor([[4, 4],
                [4, 4]])
    """
    if by == 0:
        return pixels
    rows, columns = ((torch.arange(side, device=pixels.device) - by).clamp(0, side - 1) for side in pixels.shape[-2:])
    return pixels.index_select(-2, rows).index_select(-1, columns)
