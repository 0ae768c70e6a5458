"""Pixel reconstruction: the decoder paints the radiograph, which is what pseudo segmentation is compared with."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["PixelReconstructionLoss"]

_EPSILON = 1e-6


class PixelReconstructionLoss(nn.Module):
    """Mean squared error between the decoder's output and the image, which is standardised.

    Each image counts as (image - its mean) / its deviation, so an output of nothing costs 1, as much as pseudo
    segmentation costs at its beginning, and exposure does not matter.

    Reference: G2D (arXiv 2312.01522), table 6a; how its pixels were compared is not stated, so this is ours.
    """

    def forward(self, prediction: dict[str, Tensor], target: dict[str, Tensor]) -> Tensor:
        """Compare.

        Args:
            prediction: holds `logits` `[B, 1, H, W]`, taken as they are.
            target: holds `image` `[B, 1, H, W]` in [0, 1].

        Returns:
            Scalar in fp32.
        """
        image = target["image"].float()
        mean = image.mean((1, 2, 3), keepdim=True)
        variance = image.var((1, 2, 3), keepdim=True, correction=0)
        return F.mse_loss(prediction["logits"].float(), (image - mean) * (variance + _EPSILON).rsqrt())
