"""The segmentation loss of MGCA's public protocol."""

from __future__ import annotations

from collections.abc import Mapping

from monai.losses import FocalLoss
from torch import Tensor, nn

from bundle.losses.batch_dice import batch_dice

__all__ = ["MgcaSegmentationLoss"]


class MgcaSegmentationLoss(nn.Module):
    """10 * focal loss (gamma 2, unweighted, mean over pixels) - log(soft Dice over the whole batch, smooth 1).

    With several processes of equally many images its gradients are those of one process on the joined batch.

    Args:
        focal_weight: weight of the focal term.

    Attributes:
        last: `focal` (unweighted) and `log_dice` (- log Dice) of the latest call, detached, on the device.

    Reference: Wang et al., "Multi-Granularity Cross-modal Alignment" (MGCA, NeurIPS 2022); the mix is that of its
    public code, which G2D and others follow.
    """

    def __init__(self, focal_weight: float = 10.0) -> None:
        super().__init__()
        self.focal_weight = focal_weight
        self.focal = FocalLoss(gamma=2.0)
        self.last: dict[str, Tensor] = {}

    def forward(self, prediction: Tensor, target: Mapping[str, Tensor]) -> Tensor:
        """Compute the loss in fp32.

        Args:
            prediction: logits `[B, K, H, W]`.
            target: holds `label` `[B, K, H, W]`, bool or 0 and 1.

        Returns:
            Scalar, 0 or more; 10 / 4 ln 2 + ln((n / 2 + 1) / 1) for zero logits and n pixels without foreground.
        """
        logits, label = prediction.float(), target["label"].float()
        focal, log_dice = self.focal(logits, label), -batch_dice(logits, label).log()
        self.last = {"focal": focal.detach(), "log_dice": log_dice.detach()}
        return self.focal_weight * focal + log_dice
