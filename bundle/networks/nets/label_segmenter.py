"""The segmentation network as it is used: a background channel beside those of the classes."""

from __future__ import annotations

import torch
from torch import Tensor

from bundle.networks.nets.segmenter import Segmenter

__all__ = ["LabelSegmenter"]


class LabelSegmenter(Segmenter):
    """A `Segmenter` whose output has one channel more, the background's, in front: the largest one is the label.

    The background's logit is 0 everywhere, so a class is the largest where its own logit is above 0 (its probability
    above .5) and above those of the other classes. Parameters and their names are those of `Segmenter`: weights of the
    segmentation stage fit as they are.

    Example:
        >>> encoder = TimmEncoder("resnet18")
        >>> decoder = PyramidDecoder(encoder.channels, encoder.strides, out_channels=2)
        >>> LabelSegmenter(encoder, decoder)(torch.zeros(1, 1, 64, 64)).shape
        torch.Size([1, 3, 64, 64])
    """

    def forward(self, image: Tensor) -> Tensor:
        """Segment.

        Args:
            image: `[B, 1, H, W]`, normalised; sides as the encoder takes them.

        Returns:
            Logits `[B, 1 + K, H, W]`, unbounded; channel 0 is the background and 0.
        """
        logits = super().forward(image)
        return torch.cat([torch.zeros_like(logits[:, :1]), logits], dim=1)
