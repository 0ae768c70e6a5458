"""Words of a question that read an image."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

__all__ = ["QuestionFusion"]


class QuestionFusion(nn.Module):
    """Two or more layers in which words attend to each other and to the image's cells; then one vector a pair.

    Both streams are mapped to a common width, the image's cells with fixed sine and cosine positions, without which a
    network of convolutions could hardly tell left from right. A layer is a pre-LayerNorm transformer decoder layer
    without causal mask: self-attention of the words, their attention to the cells, feed-forward. The joint vector is
    the question's first token, then the mean of the cells.

    G2D has no fusion of its own; this one is small, and no published figure belongs to it.

    Args:
        image_width: channels C of the image's map.
        text_width: size T of the words' vectors.
        width: D of the common space, a multiple of 4 and of `heads`.
        layers: number of layers.
        heads: of each attention.
        feedforward: width within a layer's feed-forward; None: 4 D.
        dropout: within layers.

    Attributes:
        joint_width: size of the joint vector, 2 D.

    Raises:
        ValueError: if `width` is no multiple of 4 and of `heads`, or there is no layer.

    Example:
        >>> fusion = QuestionFusion(image_width=512, text_width=768)
        >>> cells, words = torch.randn(2, 512, 7, 7), torch.randn(2, 9, 768)
        >>> fusion.join(cells.mean((2, 3)), cells, words, torch.ones(2, 9)).shape
        torch.Size([2, 512])
    """

    def __init__(
        self,
        image_width: int,
        text_width: int,
        width: int = 256,
        layers: int = 2,
        heads: int = 4,
        feedforward: int | None = None,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        if width % 4 or width % heads or layers < 1:
            raise ValueError(
                f"A fusion of width {width} with {heads} heads and {layers} layers cannot be built: the width must be "
                "a multiple of 4 and of the heads, and there must be a layer."
            )
        self.joint_width = 2 * width
        self.project_image = nn.Sequential(nn.Linear(image_width, width), nn.LayerNorm(width))
        self.project_text = nn.Sequential(nn.Linear(text_width, width), nn.LayerNorm(width))
        layer = partial(nn.TransformerDecoderLayer, activation="gelu", batch_first=True, norm_first=True)
        self.layers = nn.ModuleList(layer(width, heads, feedforward or 4 * width, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def join(self, pooled: Tensor, cells: Tensor, words: Tensor, attention_mask: Tensor) -> Tensor:
        """Join images and questions.

        Args:
            pooled: of the whole image, `[B, C]`; not read.
            cells: of its places, `[B, C, h, w]`.
            words: `[B, L, T]`.
            attention_mask: `[B, L]`, 1 for a token, 0 for padding, which nothing reads.

        Returns:
            `[B, 2 D]`.
        """
        image = self.project_image(cells.flatten(2).transpose(1, 2)) + self._positions(cells)
        words = self.project_text(words)
        # As numbers: torch would make them of a bool mask at every layer.
        padding = torch.zeros_like(attention_mask, dtype=words.dtype).masked_fill(attention_mask == 0, float("-inf"))
        for layer in self.layers:
            words = layer(words, image, tgt_key_padding_mask=padding)
        return torch.cat([self.norm(words[:, 0]), image.mean(1)], -1)

    def _positions(self, cells: Tensor) -> Tensor:
        """Of the cells `[B, C, h, w]`: `[h * w, D]`."""
        from timm.layers import build_sincos2d_pos_embed

        size, width = list(cells.shape[2:]), self.joint_width // 2
        return build_sincos2d_pos_embed(size, dim=width, device=cells.device)
