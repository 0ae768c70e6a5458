"""From the joint vector of image and text to logits of answers or classes."""

from __future__ import annotations

from torch import nn

from bundle.networks.blocks.full_precision import FullPrecisionLinear

__all__ = ["AnswerHead"]


class AnswerHead(nn.Sequential):
    """Linear map, LayerNorm, GELU, linear map: `[B, C]` to logits `[B, K]`, fp32.

    Reference: M3AE (arXiv 2209.07098), question answering and image-text classification; there C is 1,536.

    Args:
        in_features: C of the joint vector.
        answers: K, number of answers or classes.
    """

    def __init__(self, in_features: int, answers: int) -> None:
        super().__init__(
            nn.Linear(in_features, in_features),
            nn.LayerNorm(in_features),
            nn.GELU(),
            FullPrecisionLinear(in_features, answers),
        )
