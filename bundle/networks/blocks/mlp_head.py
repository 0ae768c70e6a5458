"""Adaptor's classification head."""

from __future__ import annotations

from torch import nn

from bundle.networks.blocks.full_precision import FullPrecisionLinear

__all__ = ["MlpHead"]


class MlpHead(nn.Sequential):
    """Dropout, linear map without bias, BatchNorm, ReLU, dropout, linear map: `[B, C]` to logits `[B, K]`, fp32.

    From 768 over 512 it has 394,753 parameters for one logit and 395,779 for three.

    Args:
        in_features: C of the features.
        classes: K, number of logits.
        hidden: width between the linear maps.
        dropout: before each of them.
    """

    def __init__(self, in_features: int, classes: int, hidden: int = 512, dropout: float = 0.1) -> None:
        super().__init__(
            nn.Dropout(dropout),
            nn.Linear(in_features, hidden, bias=False),
            nn.BatchNorm1d(hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
            FullPrecisionLinear(hidden, classes),
        )
