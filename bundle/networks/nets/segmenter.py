"""The U-Net of the segmentation stage."""

from __future__ import annotations

from torch import Tensor, nn

from bundle.networks.weights.freezing import FreezableNetwork

__all__ = ["Segmenter"]


class Segmenter(FreezableNetwork):
    """Image encoder and decoder, as pre-training has them: radiographs in, one logit map a class out.

    The names of its tensors are those of `G2D` and of the files that pre-training leaves: `image_encoder.*`,
    `decoder.*`.

    Args:
        image_encoder: `[B, 1, H, W]` to a pyramid of maps, finest first.
        decoder: pyramid to logits `[B, K, H, W]`, for K classes that may overlap.

    Example:
        >>> encoder = TimmEncoder("resnet50")
        >>> network = Segmenter(encoder, PyramidDecoder(encoder.channels, encoder.strides, out_channels=2))
        >>> network(torch.zeros(1, 1, 64, 64)).shape
        torch.Size([1, 2, 64, 64])
    """

    def __init__(self, image_encoder: nn.Module, decoder: nn.Module) -> None:
        super().__init__()
        self.image_encoder = image_encoder
        self.decoder = decoder

    def forward(self, image: Tensor) -> Tensor:
        """Segment.

        Args:
            image: `[B, 1, H, W]`, normalised; sides as the encoder takes them.

        Returns:
            Logits `[B, K, H, W]`, unbounded.
        """
        return self.decoder(self.image_encoder(image))
