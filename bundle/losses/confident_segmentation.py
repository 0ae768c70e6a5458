"""Segmentation loss against a soft pseudo mask whose seam is trusted less than the rest."""

from __future__ import annotations

from collections.abc import Callable

from monai.losses import MaskedDiceLoss
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["ConfidentSegmentationLoss"]

Tensors = dict[str, Tensor]


class ConfidentSegmentationLoss(nn.Module):
    """As `PseudoSegmentationLoss`, each pixel weighing |2 m - 1| for a mask m (ours).

    What clearly belongs to the finding, and what clearly does not, counts whole; the seam, which smoothing has made
    soft and where a coarse map says least, is left to the decoder. The cross-entropy is the weighted mean over pixels;
    the soft Dice counts each pixel of either side by its weight.

    Args:
        pseudo_mask: maps (prediction, target) to the mask `[B, 1, H, W]` in [0, 1]; gradients do not go through it.
        dice_weight: weight of the Dice term.
        bce_weight: weight of the cross-entropy term.
    """

    def __init__(
        self, pseudo_mask: Callable[[Tensors, Tensors], Tensor], dice_weight: float = 0.5, bce_weight: float = 0.5
    ) -> None:
        super().__init__()
        self.pseudo_mask = pseudo_mask
        self.dice_weight = dice_weight
        self.bce_weight = bce_weight
        self.dice = MaskedDiceLoss()

    def forward(self, prediction: Tensors, target: Tensors) -> Tensor:
        """Draw the mask and compare, as `PseudoSegmentationLoss`; a scalar."""
        mask = self.pseudo_mask(prediction, target).detach()
        weight = (2 * mask - 1).abs()
        logits = prediction["logits"].float()
        bce = F.binary_cross_entropy_with_logits(logits, mask, weight, reduction="sum") / weight.sum().clamp_min(1)
        # Of probabilities, for a logit that is masked away would be one half.
        dice = self.dice(logits.sigmoid(), mask, weight)
        return self.dice_weight * dice + self.bce_weight * bce
