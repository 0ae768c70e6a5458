"""The random start of BERT's layers."""

from __future__ import annotations

from torch import nn

__all__ = ["normal_init"]


def normal_init(module: nn.Module, std: float = 0.02) -> None:
    """Draw linear maps, attention and embeddings from N(0, std); biases become 0, LayerNorms 1 and 0.

    Args:
        module: changed in place, with all that is in it.
        std: standard deviation; 0.02 in BERT and M3AE.
    """
    for part in module.modules():
        if isinstance(part, nn.Linear | nn.Embedding):
            nn.init.normal_(part.weight, std=std)
        if isinstance(part, nn.Linear) and part.bias is not None:
            nn.init.zeros_(part.bias)
        if isinstance(part, nn.MultiheadAttention):
            nn.init.normal_(part.in_proj_weight, std=std)
            nn.init.zeros_(part.in_proj_bias)
        if isinstance(part, nn.LayerNorm):
            nn.init.ones_(part.weight)
            nn.init.zeros_(part.bias)
