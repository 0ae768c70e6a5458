"""An image encoder with a linear classifier."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from bundle.networks.blocks.full_precision import FullPrecisionLinear
from bundle.networks.encoders.image_encoder import ImageEncoder
from bundle.networks.weights.freezing import FreezableNetwork

__all__ = ["Classifier"]


class Classifier(FreezableNetwork):
    """Global average of the encoder's last map, and one linear layer: for linear probing and full fine-tuning.

    Frozen, the image encoder leaves `head` alone to be trained, which `features` computed once suffice for
    (`bundle.data.feature_cache`).

    Args:
        image_encoder: `[B, 1, H, W]` to a pyramid of maps, finest first.
        classes: number of logits: one a class or finding; one for a binary task.

    Attributes:
        head: the linear layer, computed in fp32 also under autocast: logits of bf16 have three digits, and their ties
            would blur the ranks that areas under curves are made of.

    Example:
        >>> network = Classifier(TimmEncoder("resnet50"), classes=14)
        >>> network(torch.zeros(2, 1, 64, 64)).shape
        torch.Size([2, 14])
    """

    def __init__(self, image_encoder: ImageEncoder, classes: int) -> None:
        super().__init__()
        self.image_encoder = image_encoder
        self.head = FullPrecisionLinear(image_encoder.channels[-1], classes)

    def features(self, image: Tensor) -> Tensor:
        """Encode: radiographs `[B, 1, H, W]`, normalised, to `[B, C]`, fp32."""
        return _average(self.image_encoder(image)[-1])

    def forward(self, image: Tensor) -> Tensor:
        """Classify.

        Args:
            image: `[B, 1, H, W]`, normalised; sides as the encoder takes them.

        Returns:
            Logits `[B, classes]`, fp32.
        """
        maps = self.image_encoder(image)
        features = _average(maps[-1])
        if self.training and maps[0].requires_grad:
            features = features + _idle(maps[:-1])
        return self.head(features)


def _average(last: Tensor) -> Tensor:
    """Mean over positions: `[B, C, h, w]` to `[B, C]`, summed in fp32."""
    return last.float().mean((2, 3))


def _idle(maps: Sequence[Tensor]) -> Tensor:
    """Zero that touches the maps that nothing else reads: what only they need gets a zero gradient, as DDP demands."""
    return 0 * torch.stack([x.flatten()[0].float() for x in maps]).sum()
