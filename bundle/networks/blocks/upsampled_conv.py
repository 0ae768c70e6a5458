"""A convolution of an upsampled map, computed without upsampling it."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["conv_of_upsampled"]


def conv_of_upsampled(coarse: Tensor, skip: Tensor | None, weight: Tensor) -> Tensor:
    """The 3x3 convolution, padding 1, of a skip connection and a map upsampled to it (nearest, by 2), concatenated.

    Upsampling and then convolving is one transposed convolution with a 4x4 kernel and stride 2. It has 4/9 of the
    multiplications, and neither the upsampled map nor the concatenation is stored. The kernel is built from the weights
    in every call, which does not pay where the map is smaller than the kernel.

    Args:
        coarse: `[B, C, h, w]`.
        skip: `[B, S, 2h, 2w]`, or none.
        weight: `[O, S + C, 3, 3]`, those of the skip connection first.

    Returns:
        `[B, O, 2h, 2w]`, up to rounding that of `conv2d(cat([skip, interpolate(coarse, scale_factor=2)], 1), weight,
        padding=1)`.
    """
    start = 0 if skip is None else skip.shape[1]
    # In one dimension: which of the 4 weights of a transposed convolution each of the 3 weights takes part in. Made on
    # the device: numbers of the host would have to be waited for in every step.
    last_first = torch.eye(3, device=weight.device, dtype=weight.dtype).flip(0)
    rows = F.pad(last_first, (1, 0)) + F.pad(last_first, (0, 1))
    spread = torch.einsum("ap,bq,ocab->copq", rows, rows, weight[:, start:])
    kernel = spread.contiguous(memory_format=torch.channels_last)
    upsampled = F.conv_transpose2d(coarse, kernel, stride=2, padding=1)
    return upsampled if skip is None else upsampled + F.conv2d(skip, weight[:, :start], padding=1)
