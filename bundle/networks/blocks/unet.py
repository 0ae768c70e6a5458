"""The U-Net decoder over any pyramid of feature maps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

import torch
from monai.networks.nets.flexible_unet import UNetDecoder
from torch import nn

from bundle.networks.blocks.upsampled_conv import conv_of_upsampled

__all__ = ["PyramidDecoder"]


class PyramidDecoder(nn.Module):
    """MONAI's U-Net decoder from the coarsest map up to the full resolution of the image, and a head to logits.

    One block for each halving of the image: nearest upsampling by 2, concatenation with the encoder's map of that
    resolution where there is one, two 3x3 convolutions with BatchNorm and ReLU. Where the encoder's finest map has
    stride 4 (ConvNeXt, Swin, ViT), the last two blocks have no skip connection. Over a ResNet-50 it is the decoder of
    G2D: 9,012,928 parameters and 145 in the head. Blocks, weights and result are MONAI's; all blocks but the coarsest
    compute their first convolution without upsampling, in 4/9 of the multiplications (`conv_of_upsampled`).

    Reference: Ronneberger et al., "U-Net", MICCAI 2015; shapes as `segmentation_models_pytorch.Unet`.

    Args:
        channels: channels of the pyramid, finest first.
        strides: strides of the pyramid in pixels, finest first, each twice the one before.
        decoder_channels: channels of the blocks, coarsest first, the last at full resolution. A pyramid with fewer
            halvings than entries takes the last of them.
        out_channels: number of logit maps.
        prior: share of the pixels that is foreground before anything is learned, in (0, 1): the head's bias begins at
            its logit, so that features come to speak for the foreground. None: torch's random bias; background,
            most of an image, is then the first that they speak for, and logits of foreground hardly rise above the bias
            (docs/ablations.md). Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017, section 4.1.

    Raises:
        ValueError: if there is one map only, if the strides do not double from map to map, if `decoder_channels` has
            too few entries, or if `prior` is not inside (0, 1).

    Example:
        >>> encoder = TimmEncoder("resnet50")
        >>> decoder = PyramidDecoder(encoder.channels, encoder.strides)
        >>> decoder(encoder(torch.zeros(2, 1, 64, 64))).shape
        torch.Size([2, 1, 64, 64])
    """

    def __init__(
        self,
        channels: Sequence[int],
        strides: Sequence[int],
        decoder_channels: Sequence[int] = (256, 128, 64, 32, 16),
        out_channels: int = 1,
        prior: float | None = None,
    ) -> None:
        super().__init__()
        if prior is not None and not 0 < prior < 1:
            raise ValueError(f"prior is a share of the pixels, inside (0, 1), not {prior}")
        halvings = _halvings(channels, strides)
        if len(decoder_channels) < halvings:
            raise ValueError(
                f"A pyramid of coarsest stride {strides[-1]} needs {halvings} decoder channels, not "
                f"{len(decoder_channels)}; add entries to decoder_channels."
            )
        widths = tuple(decoder_channels)[-halvings:]
        self.decoder = UNetDecoder(
            spatial_dims=2,
            # MONAI expects the image's own channels first and never uses them; 0 stands for "no map at this stride".
            encoder_channels=(0,) * (halvings + 1 - len(channels)) + tuple(channels),
            decoder_channels=widths,
            act=("relu", {"inplace": True}),
            norm="batch",
            dropout=0.0,
            bias=False,
            upsample="nontrainable",
            pre_conv=None,
            interp_mode="nearest",
            align_corners=None,
            is_pad=False,
        )
        self.head = nn.Conv2d(widths[-1], out_channels, kernel_size=3, padding=1)
        if prior is not None:
            nn.init.constant_(self.head.bias, math.log(prior / (1 - prior)))  # type: ignore[arg-type]

    def forward(self, features: Sequence[torch.Tensor]) -> torch.Tensor:
        """Decode a pyramid.

        Args:
            features: maps [B, C, H / s, W / s], finest first, as `channels` and `strides` say.

        Returns:
            Logits [B, out_channels, H, W], unbounded.
        """
        coarsest, *skips = reversed(features)
        blocks: list[Any] = list(self.decoder.blocks)
        x = blocks[0](coarsest, skips[0])  # a kernel of so many channels is larger than its map: building it costs more
        for block, skip in zip_longest(blocks[1:], skips[1:]):
            first, second = block.convs
            x = second(first.adn(conv_of_upsampled(x, skip, first.conv.weight)))
        return self.head(x)


def _halvings(channels: Sequence[int], strides: Sequence[int]) -> int:
    """How often the image was halved down to the coarsest map."""
    finest = strides[0]
    doubling = [finest * 2**level for level in range(len(strides))]
    powers = finest >= 2 and not finest & (finest - 1)
    if not powers or list(strides) != doubling or len(channels) != len(strides) or len(strides) < 2:
        raise ValueError(
            "A U-Net decoder needs two maps or more whose strides double, such as 2, 4, 8, 16, and a channel count for "
            f"each; it got channels {tuple(channels)} and strides {tuple(strides)}."
        )
    return strides[-1].bit_length() - 1
