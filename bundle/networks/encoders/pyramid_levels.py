"""The levels of an encoder's pyramid that a detector reads."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from bundle.networks.encoders.image_encoder import ImageEncoder

__all__ = ["PyramidLevels"]


class PyramidLevels(nn.Module):
    """Chooses some maps of a pyramid; has no parameters.

    A level that is not chosen may be the only one that some parameter of the encoder feeds (the levels of a
    `SimpleFeaturePyramid` do not build on each other). DDP waits for the gradient of every trained parameter, so the
    choice depends on all maps: on those left out by an empty sum, whose gradients are zero.

    Args:
        encoder: what gives the pyramid.
        levels: positions in its `channels` and `strides`, ascending from fine to coarse; -1 is the coarsest.

    Attributes:
        channels: channels of the chosen maps.
        strides: strides of the chosen maps in pixels.

    Raises:
        ValueError: if the encoder has no such level, or they do not ascend.

    Example:
        >>> PyramidLevels(TimmEncoder("resnet50"), levels=(-3, -2, -1)).strides
        (8, 16, 32)
    """

    def __init__(self, encoder: ImageEncoder, levels: Sequence[int]) -> None:
        super().__init__()
        count = len(encoder.strides)
        positions = [level + count if level < 0 else level for level in levels]
        if not positions or positions != sorted(set(positions)) or positions[0] < 0 or positions[-1] >= count:
            raise ValueError(
                f"A detector cannot read the levels {tuple(levels)} of a pyramid of {count} maps with strides "
                f"{tuple(encoder.strides)}: give positions in it from fine to coarse, such as (-3, -2, -1)."
            )
        self._positions = tuple(positions)
        self.channels = tuple(encoder.channels[position] for position in positions)
        self.strides = tuple(encoder.strides[position] for position in positions)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Choose: all maps `[B, C, h, w]`, finest first, to those of the levels."""
        *finer, coarsest = (maps[position] for position in self._positions)
        for position, left_out in enumerate(maps):
            if position not in self._positions:
                coarsest = coarsest + left_out[:0].sum()
        return [*finer, coarsest]
