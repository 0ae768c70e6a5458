"""The random start of BERT's layers."""

from __future__ import annotations

from torch import nn

__all__ = ["normal_init"]


def normal_init(module: nn.Module, width: int = 768) -> None:
    """Draw linear maps, attention and embeddings from a normal distribution; biases become 0, LayerNorms 1 and 0.

    Its standard deviation is that of BERT and M3AE, 0.02, at their width of 768. At others it is such that maps pass on
    the same variance: 0.02 at a width of 128 is so little that matching starts to learn several times later.

    Args:
        module: changed in place, with all that is in it.
        width: of the vectors that its maps read.
    """
    std = 0.02 * (768 / width) ** 0.5
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
