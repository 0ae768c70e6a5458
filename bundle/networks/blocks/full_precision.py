"""A linear layer for logits."""

from __future__ import annotations

from contextlib import nullcontext

import torch
from torch import Tensor, nn

__all__ = ["FullPrecisionLinear"]


class FullPrecisionLinear(nn.Linear):
    """A linear layer that autocast leaves alone.

    Logits of bf16 have three digits, and their ties would blur the ranks that areas under curves are made of.
    """

    def forward(self, features: Tensor) -> Tensor:
        """`[B, C]` to `[B, K]`, fp32."""
        kind = features.device.type
        reduces = torch.amp.is_autocast_available(kind)
        with torch.autocast(kind, enabled=False) if reduces else nullcontext():
            return super().forward(features.float())
