"""The two decoders that Adaptor was tested with in segmentation."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["AutoencoderUNet", "PatchDecoder"]

_WIDTHS = (512, 256, 128, 64)
_SKIPS = (1024, 512, 256, 64)  # of the frozen autoencoder's maps at strides 16, 8, 4, 2
_BOTTOM = 7  # side of the map that the pooled vector grows to
_UNIT = 224  # px, side of the image that has a bottom of 7


class PatchDecoder(nn.Module):
    """From adapted patches to logits, without maps of finer strides; 10,401,409 parameters.

    A 3x3 convolution, then four times a 3x3 convolution and doubling by nearest neighbours, each with BatchNorm and
    ReLU, and a 3x3 convolution to the logits. A grid of 16 x 16 patches of 14 px shrinks to the 14 x 14 cells of 16 px
    that it takes by a first convolution without padding. Other grids are resized there by nearest neighbours.

    Args:
        width: D of the patches.
        out_channels: K logit maps.
        padding: of the first convolution: 0 as published at 224 px, 1 as at 896 px.
    """

    def __init__(self, width: int = 768, out_channels: int = 1, padding: int = 0) -> None:
        super().__init__()
        self.first = _conv(width, width, padding)
        inputs = (width, *_WIDTHS[:-1])
        stages = (nn.Sequential(_conv(i, o), nn.Upsample(scale_factor=2)) for i, o in zip(inputs, _WIDTHS, strict=True))
        self.stages = nn.Sequential(*stages)
        self.head = nn.Conv2d(_WIDTHS[-1], out_channels, 3, padding=1)

    def forward(self, patches: Tensor, size: Sequence[int]) -> Tensor:
        """Decode.

        Args:
            patches: `[B, D, h, w]`.
            size: sides (H, W) of the image in px, multiples of 16.

        Returns:
            Logits `[B, K, H, W]`, unbounded.

        Raises:
            ValueError: if the sides are no such multiples.
        """
        height, width = size
        if height % 16 or width % 16:
            raise ValueError(f"The decoder gives maps whose sides are multiples of 16 px, not {height} x {width} px.")
        x = self.first(patches)
        if x.shape[-2:] != (height // 16, width // 16):
            x = F.interpolate(x, (height // 16, width // 16))
        return self.head(self.stages(x))


class AutoencoderUNet(nn.Module):
    """From an adapted pooled vector, with the frozen autoencoder's maps, to logits; 20,146,817 parameters at 224 px.

    Transposed convolutions without bias let the vector grow to 7 x 7, and for every doubling of the image's side once
    more, with weights of its own. Four times the map is then doubled, the encoder's map of this stride is put beside
    it, and two 3x3 convolutions with BatchNorm and ReLU follow; a last doubling and a 1x1 convolution give the logits.

    Args:
        width: D of the vector.
        out_channels: K logit maps.
        image_size: side of the image in px: 224, 448, 896, ...

    Raises:
        ValueError: if the image has another side.
    """

    def __init__(self, width: int = 768, out_channels: int = 1, image_size: int = 224) -> None:
        super().__init__()
        doublings = (image_size // _UNIT).bit_length() - 1
        if image_size != _UNIT << max(doublings, 0):
            raise ValueError(
                f"The autoencoder's U-Net decodes images of 224, 448, 896, ... px, not of {image_size} px."
            )
        self.grow = nn.Sequential(
            nn.ConvTranspose2d(width, _WIDTHS[0], 3, bias=False),
            nn.ConvTranspose2d(_WIDTHS[0], _WIDTHS[0], 3, stride=2, bias=False),
            *(nn.ConvTranspose2d(_WIDTHS[0], _WIDTHS[0], 2, stride=2, bias=False) for _ in range(doublings)),
        )
        inputs = (_WIDTHS[0], *_WIDTHS[:-1])
        self.ups = nn.ModuleList(nn.ConvTranspose2d(i, o, 2, stride=2) for i, o in zip(inputs, _WIDTHS, strict=True))
        self.blocks = nn.ModuleList(
            nn.Sequential(_conv(o + skip, o), _conv(o, o)) for o, skip in zip(_WIDTHS, _SKIPS, strict=True)
        )
        self.last = nn.ConvTranspose2d(_WIDTHS[-1], 32, 2, stride=2)
        self.head = nn.Conv2d(32, out_channels, 1)
        self.side = _BOTTOM << doublings

    def forward(self, vector: Tensor, maps: Sequence[Tensor]) -> Tensor:
        """Decode.

        Args:
            vector: `[B, D]`.
            maps: of the autoencoder, finest first: strides 2, 4, 8 and 16; more are not read.

        Returns:
            Logits `[B, K, S, S]`, unbounded.

        Raises:
            ValueError: if the maps are those of an image of another size.
        """
        skips = maps[3::-1]
        if skips[0].shape[-2:] != (2 * self.side, 2 * self.side):
            raise ValueError(f"The decoder was built for images of {32 * self.side} px; give `image_size` their side.")
        x = self.grow(vector[:, :, None, None])
        for up, block, skip in zip(self.ups, self.blocks, skips, strict=True):
            x = block(torch.cat([up(x), skip], 1))
        return self.head(self.last(x))


def _conv(inputs: int, outputs: int, padding: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=padding), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))
