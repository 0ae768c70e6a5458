"""Feature pyramids from what networks give: the stages of a CNN, or the single map of a plain vision transformer."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from timm.layers import LayerNorm2d
from torch import nn

__all__ = ["SimpleFeaturePyramid", "StagePyramid"]


class StagePyramid(nn.Module):
    """The stages of a network as they are; of stages with the same stride (a dilated network) the deepest.

    Args:
        channels: channels of the stages, finest first.
        strides: strides of the stages in pixels, finest first.
        channels_last: whether the stages come as [B, H, W, C], as those of Swin do.

    Attributes:
        channels: channels of the levels, finest first.
        strides: strides of the levels in pixels, finest first.

    Example:
        >>> StagePyramid(channels=(64, 64, 128, 256, 512), strides=(2, 4, 8, 16, 16)).channels
        (64, 64, 128, 512)
    """

    def __init__(self, channels: Sequence[int], strides: Sequence[int], channels_last: bool = False) -> None:
        super().__init__()
        self._kept = sorted({stride: index for index, stride in enumerate(strides)}.values())
        self._channels_last = channels_last
        self.channels = tuple(channels[index] for index in self._kept)
        self.strides = tuple(strides[index] for index in self._kept)

    def forward(self, features: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Choose the levels.

        Args:
            features: the stages [B, C, H / s, W / s], or [B, H / s, W / s, C].

        Returns:
            One map [B, C, H / s, W / s] for each s in `strides`.
        """
        levels = [features[index] for index in self._kept]
        return [level.permute(0, 3, 1, 2) for level in levels] if self._channels_last else levels


class SimpleFeaturePyramid(nn.Module):
    """Makes maps of strides 4, 8, 16 (and 32) from one map, so that decoders and detectors meant for CNNs fit a ViT.

    Every level starts from the same map: transposed convolutions of stride 2 where it has to grow, max pooling where it
    has to shrink, then a 1x1 and a 3x3 convolution, each followed by a LayerNorm over channels.

    Reference: Li et al., "Exploring Plain Vision Transformer Backbones for Object Detection", ECCV 2022, section 3
    (arXiv 2203.16527).

    Args:
        in_channels: channels of the map.
        stride: stride of the map in pixels (the patch size), a power of two.
        out_channels: channels of every level.
        output_stride: stride of the coarsest level: 16 or 32.

    Attributes:
        channels: channels of the levels, finest first.
        strides: strides of the levels in pixels, finest first.

    Raises:
        ValueError: if `stride` is not a power of two.

    Example:
        >>> pyramid = SimpleFeaturePyramid(in_channels=192, stride=16)
        >>> [tuple(level.shape) for level in pyramid([torch.zeros(1, 192, 8, 8)])]
        [(1, 256, 32, 32), (1, 256, 16, 16), (1, 256, 8, 8), (1, 256, 4, 4)]
    """

    def __init__(self, in_channels: int, stride: int, out_channels: int = 256, output_stride: int = 32) -> None:
        super().__init__()
        if stride < 1 or stride & (stride - 1):
            raise ValueError(f"A patch size of {stride} px gives no pyramid of strides 4 to 32; take a power of two.")
        self.strides = tuple(level for level in (4, 8, 16, 32) if level <= output_stride)
        self.channels = (out_channels,) * len(self.strides)
        self.levels = nn.ModuleList(_level(in_channels, out_channels, stride, level) for level in self.strides)

    def forward(self, features: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Build the levels.

        Args:
            features: maps [B, in_channels, H / stride, W / stride], of which the last is used.

        Returns:
            One map [B, out_channels, H / s, W / s] for each s in `strides`.
        """
        return [level(features[-1]) for level in self.levels]


def _level(in_channels: int, out_channels: int, stride: int, target: int) -> nn.Sequential:
    """Bring a map from `stride` to `target` and to `out_channels`."""
    layers: list[nn.Module] = []
    channels = in_channels
    while stride > target:
        if layers:
            layers += [LayerNorm2d(channels), nn.GELU()]
        layers.append(nn.ConvTranspose2d(channels, channels // 2, kernel_size=2, stride=2))
        channels, stride = channels // 2, stride // 2
    while stride < target:
        layers.append(nn.MaxPool2d(kernel_size=2))
        stride *= 2
    layers += [nn.Conv2d(channels, out_channels, kernel_size=1, bias=False), LayerNorm2d(out_channels)]
    layers += [nn.Conv2d(out_channels, out_channels, kernel_size=3, padding=1, bias=False), LayerNorm2d(out_channels)]
    return nn.Sequential(*layers)
