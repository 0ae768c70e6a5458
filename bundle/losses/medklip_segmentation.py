"""The segmentation loss of MedKLIP's public protocol."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn
from torch.nn import functional as F

from bundle.losses.batch_dice import batch_dice

__all__ = ["MedklipSegmentationLoss"]


class MedklipSegmentationLoss(nn.Module):
    """Soft Dice loss over the flattened batch (smooth 1) + binary cross-entropy (mean over pixels), on probabilities.

    With several processes of equally many images its gradients are those of one process on the joined batch.

    Attributes:
        last: `dice` and `bce` of the latest call, detached, on the device.

    Reference: Wu et al., "MedKLIP" (ICCV 2023); the sum is that of its public fine-tuning code.
    """

    def __init__(self) -> None:
        super().__init__()
        self.last: dict[str, Tensor] = {}

    def forward(self, prediction: Tensor, target: Mapping[str, Tensor]) -> Tensor:
        """Compute the loss in fp32.

        Args:
            prediction: logits `[B, K, H, W]`.
            target: holds `label` `[B, K, H, W]`, bool or 0 and 1.

        Returns:
            Scalar, 0 or more; 1 - (n + 1) / (3 n / 2 + 1) + ln 2 for zero logits and n pixels of foreground alone.
        """
        logits, label = prediction.float(), target["label"].float()
        dice, bce = 1 - batch_dice(logits, label), F.binary_cross_entropy_with_logits(logits, label)
        self.last = {"dice": dice.detach(), "bce": bce.detach()}
        return dice + bce
