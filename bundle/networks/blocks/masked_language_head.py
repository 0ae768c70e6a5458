"""The head that names masked words."""

from __future__ import annotations

from torch import Tensor, nn

from bundle.networks.blocks.normal_init import normal_init

__all__ = ["MaskedLanguageHead"]


class MaskedLanguageHead(nn.Sequential):
    """Linear map, GELU, LayerNorm, linear map to the vocabulary; nothing is tied to the encoder's embeddings.

    From 768 to RoBERTa's 50,265 words it has 39,245,913 parameters.

    Reference: M3AE (arXiv 2209.07098), section 2.2, after BERT.

    Args:
        width: D of the features.
        vocab_size: V, number of words.
        norm_eps: of the LayerNorm.

    Example:
        >>> MaskedLanguageHead(192, 4000)(torch.randn(2, 10, 192)).shape
        torch.Size([2, 10, 4000])
    """

    def __init__(self, width: int, vocab_size: int, norm_eps: float = 1e-12) -> None:
        super().__init__(
            nn.Linear(width, width), nn.GELU(), nn.LayerNorm(width, eps=norm_eps), nn.Linear(width, vocab_size)
        )
        normal_init(self, width)

    def forward(self, input: Tensor) -> Tensor:
        """Logits `[..., V]` of features `[..., D]`."""
        return super().forward(input)
