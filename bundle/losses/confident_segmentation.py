"""Segmentation loss against a pseudo mask of which some pixels are trusted more than others."""

from __future__ import annotations

from collections.abc import Callable

import torch
from monai.losses import MaskedDiceLoss
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["ConfidentSegmentationLoss"]

Tensors = dict[str, Tensor]


class ConfidentSegmentationLoss(nn.Module):
    """As `PseudoSegmentationLoss`, each pixel weighing as much as its mask is trusted there.

    The cross-entropy is the weighted mean over pixels; the soft Dice counts each pixel of either side by its weight.

    Args:
        pseudo_mask: maps (prediction, target) to the mask `[B, 1, H, W]` in [0, 1]; called without gradient.
        confidence: maps the same to weights `[B, 1, H, W]` in [0, 1]; called without gradient.
        dice_weight: weight of the Dice term.
        bce_weight: weight of the cross-entropy term.

    Attributes:
        mask: the latest pseudo mask `[B, 1, H, W]`, for pictures and metrics.
    """

    def __init__(
        self,
        pseudo_mask: Callable[[Tensors, Tensors], Tensor],
        confidence: Callable[[Tensors, Tensors], Tensor],
        dice_weight: float = 0.5,
        bce_weight: float = 0.5,
    ) -> None:
        super().__init__()
        self.pseudo_mask = pseudo_mask
        self.confidence = confidence
        self.dice_weight = dice_weight
        self.bce_weight = bce_weight
        self.dice = MaskedDiceLoss()
        self.mask: Tensor | None = None

    def forward(self, prediction: Tensors, target: Tensors) -> Tensor:
        """Draw the mask and compare, as `PseudoSegmentationLoss`; a scalar, 0 where no pixel is trusted."""
        with torch.no_grad():
            self.mask = self.pseudo_mask(prediction, target)
            weight = self.confidence(prediction, target)
        logits = prediction["logits"].float()
        bce = F.binary_cross_entropy_with_logits(logits, self.mask, weight, reduction="sum") / weight.sum().clamp_min(1)
        # Of probabilities, for a logit that is masked away would be one half.
        dice = self.dice(logits.sigmoid(), self.mask, weight)
        return self.dice_weight * dice + self.bce_weight * bce
