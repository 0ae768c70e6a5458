"""Segmentation loss against a mask that the network's own attention draws."""

from __future__ import annotations

from collections.abc import Callable

from monai.losses import DiceLoss
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["PseudoSegmentationLoss"]


class PseudoSegmentationLoss(nn.Module):
    """Weighted sum of Dice and binary cross-entropy between the decoder's logits and the pseudo mask.

    Args:
        pseudo_mask: maps (prediction, target) to the mask `[B, 1, H, W]` in [0, 1]; gradients do not go through it.
        dice_weight: weight of the Dice term (paper: 1/2).
        bce_weight: weight of the cross-entropy term (paper: 1/2; released code: 0.2).
        dice: the Dice term, called with logits and mask. Default: soft Dice on probabilities, per image. The released
            code takes it on raw logits, which is `DiceLoss(sigmoid=False)`.

    Reference: G2D (arXiv 2312.01522), section 3.2 and equation 3.
    """

    def __init__(
        self,
        pseudo_mask: Callable[[dict[str, Tensor], dict[str, Tensor]], Tensor],
        dice_weight: float = 0.5,
        bce_weight: float = 0.5,
        dice: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.pseudo_mask = pseudo_mask
        self.dice_weight = dice_weight
        self.bce_weight = bce_weight
        self.dice = dice if dice is not None else DiceLoss(sigmoid=True)

    def forward(self, prediction: dict[str, Tensor], target: dict[str, Tensor]) -> Tensor:
        """Draw the mask and compare.

        Args:
            prediction: holds `logits` `[B, 1, H, W]` and whatever the source of the pseudo mask reads.
            target: whatever the parts of the pseudo mask read (`body`, `image`).

        Returns:
            Scalar in fp32; 1/2 (1 - f / (1/2 + f)) + 1/2 ln 2 for zero logits and a mask that covers the share f.
        """
        mask = self.pseudo_mask(prediction, target).detach()
        logits = prediction["logits"].float()
        bce = F.binary_cross_entropy_with_logits(logits, mask)
        return self.dice_weight * self.dice(logits, mask) + self.bce_weight * bce
