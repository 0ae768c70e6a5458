"""Soft Dice of a whole batch taken as one image."""

from __future__ import annotations

import torch
from torch import Tensor

from bundle.losses.gathered_pairs import all_gather

__all__ = ["batch_dice"]


def batch_dice(logits: Tensor, label: Tensor, smooth: float = 1.0) -> Tensor:
    """(2 sum(p t) + smooth) / (sum(p) + sum(t) + smooth), p = sigmoid(logits), over all images, classes and pixels.

    While gradients are recorded, the sums are those of all processes, differentiably: since DDP averages gradients,
    they are those of one process on the joined batch. In evaluation shards may be uneven, so each takes its own sums.

    Args:
        logits: `[B, K, H, W]`, fp32.
        label: the same shape, fp32, 0 or 1.
        smooth: added above and below; 1 for empty masks predicted empty.

    Returns:
        Scalar in (0, 1].
    """
    probability = logits.sigmoid()
    sums = torch.stack([(probability * label).sum(), probability.sum() + label.sum()])[None]
    overlap, total = (all_gather(sums) if torch.is_grad_enabled() else sums).sum(0)
    return (2 * overlap + smooth) / (total + smooth)
