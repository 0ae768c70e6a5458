"""Co-attention: two streams, text and image, that read each other step by step."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bundle.networks.blocks.normal_init import normal_init

__all__ = ["CoAttention", "CoAttentionLayer"]

_TEXT, _IMAGE = 0, 1  # rows of the modality embedding


class CoAttentionLayer(nn.Module):
    """Self-attention, cross-attention and feed-forward, a LayerNorm after each (BERT's order).

    With the published sizes it has 9,451,776 parameters.

    Args:
        width: D of the streams.
        heads: of both attentions; they divide `width`.
        mlp: width between the linear maps of the feed-forward.
        dropout: of attention weights and of all three branches.
        norm_eps: of the LayerNorms.
    """

    def __init__(
        self, width: int = 768, heads: int = 12, mlp: int = 3072, dropout: float = 0.1, norm_eps: float = 1e-12
    ) -> None:
        super().__init__()
        self.self_attention = nn.MultiheadAttention(width, heads, dropout=dropout, batch_first=True)
        self.self_norm = nn.LayerNorm(width, eps=norm_eps)
        self.cross_attention = nn.MultiheadAttention(width, heads, dropout=dropout, batch_first=True)
        self.cross_norm = nn.LayerNorm(width, eps=norm_eps)
        self.feedforward = nn.Sequential(nn.Linear(width, mlp), nn.GELU(), nn.Linear(mlp, width))
        self.feedforward_norm = nn.LayerNorm(width, eps=norm_eps)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        rows: Tensor,
        stream: Tensor,
        context: Tensor,
        stream_padding: Tensor | None = None,
        context_padding: Tensor | None = None,
    ) -> Tensor:
        """Compute some rows of a stream.

        Args:
            rows: `[B, R, D]`, those rows of the stream that are wanted; the stream itself for all.
            stream: `[B, T, D]`, what self-attention reads.
            context: `[B, L, D]`, the other stream, which cross-attention reads.
            stream_padding: bool `[B, T]`, true where nothing is to be read; None: no padding.
            context_padding: bool `[B, L]`, likewise.

        Returns:
            `[B, R, D]`.
        """
        rows = self.self_norm(rows + self.dropout(_attend(self.self_attention, rows, stream, stream_padding)))
        rows = self.cross_norm(rows + self.dropout(_attend(self.cross_attention, rows, context, context_padding)))
        return self.feedforward_norm(rows + self.dropout(self.feedforward(rows)))


class CoAttention(nn.Module):
    """From the features of two single-modality encoders to joint ones.

    Features are projected, a modality embedding is added, then every step has a layer for each stream, which both read
    what the step before has left of the two. What no loss asks for is not computed: of the last step only the rows that
    are wanted, and nothing of the stream that is not.

    Reference: M3AE (arXiv 2209.07098), section 2.1, after METER (arXiv 2111.02387).

    Args:
        text_width: of the text encoder's vectors.
        image_width: of the image encoder's.
        width: D of the streams.
        steps: number of steps, each of two layers.
        heads: of every attention; they divide `width`.
        mlp: width within a layer's feed-forward.
        dropout: within layers.
        norm_eps: of the layers' LayerNorms.

    Attributes:
        width: D of the streams; `pooled` gives twice as much.
        steps: number of steps.

    Raises:
        ValueError: if there is no step, or `heads` do not divide `width`.

    Example:
        >>> fusion = CoAttention(text_width=256, image_width=192, width=192, steps=2, heads=4, mlp=768)
        >>> texts, images = fusion.texts(torch.randn(2, 9, 256)), fusion.images(torch.randn(2, 50, 192))
        >>> fusion.pooled(texts, images).shape
        torch.Size([2, 384])
    """

    def __init__(
        self,
        text_width: int = 768,
        image_width: int = 768,
        width: int = 768,
        steps: int = 6,
        heads: int = 12,
        mlp: int = 3072,
        dropout: float = 0.1,
        norm_eps: float = 1e-12,
    ) -> None:
        super().__init__()
        if steps < 1 or width % heads:
            raise ValueError(
                f"Co-attention of {steps} steps, width {width} and {heads} heads cannot be built: give one step or "
                "more, and heads that divide the width."
            )
        self.width, self.steps = width, steps
        sizes = (width, heads, mlp, dropout, norm_eps)
        self.text_projection = nn.Linear(text_width, width)
        self.image_projection = nn.Linear(image_width, width)
        self.modality = nn.Embedding(2, width)
        self.text_layers = nn.ModuleList(CoAttentionLayer(*sizes) for _ in range(steps))
        self.image_layers = nn.ModuleList(CoAttentionLayer(*sizes) for _ in range(steps))
        self.text_pooler = nn.Sequential(nn.Linear(width, width), nn.Tanh())
        self.image_pooler = nn.Sequential(nn.Linear(width, width), nn.Tanh())
        normal_init(self, width)

    def texts(self, features: Tensor) -> Tensor:
        """The text stream before fusion: features `[B, L, text_width]` to `[B, L, D]`."""
        return self.text_projection(features) + self.modality.weight[_TEXT]

    def images(self, features: Tensor) -> Tensor:
        """The image stream before fusion: features `[B, T, image_width]` to `[B, T, D]`."""
        return self.image_projection(features) + self.modality.weight[_IMAGE]

    def forward(self, texts: Tensor, images: Tensor, padding: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Fuse two streams.

        Args:
            texts: `[B, L, D]`, as `texts` gives them.
            images: `[B, T, D]`, as `images` gives them.
            padding: bool `[B, L]`, true for padding of texts, which nothing reads; None: no padding.

        Returns:
            Both streams after the last step; rows of padding mean nothing.
        """
        return self._fused(texts, images, padding, self.steps)

    def text_rows(self, texts: Tensor, images: Tensor, positions: Tensor, padding: Tensor | None = None) -> Tensor:
        """The final text stream at some positions: `[B, M, D]` for int64 `[B, M]`; the rest as for `forward`."""
        texts, images = self._fused(texts, images, padding, self.steps - 1)
        rows = texts.gather(1, positions[..., None].expand(-1, -1, texts.shape[-1]))
        return self._text_layer(-1, rows, texts, images, padding)

    def images_after(self, steps: int, texts: Tensor, images: Tensor, padding: Tensor | None = None) -> Tensor:
        """The image stream `[B, T, D]` after some steps, 0 for none; the rest as for `forward`.

        Raises:
            ValueError: if there are fewer steps.
        """
        if not 0 <= steps <= self.steps:
            raise ValueError(f"The fusion has {self.steps} steps; its images after step {steps} do not exist.")
        if steps == 0:
            return images
        texts, images = self._fused(texts, images, padding, steps - 1)
        return self._image_layer(steps - 1, images, images, texts, padding)

    def pooled(self, texts: Tensor, images: Tensor, padding: Tensor | None = None) -> Tensor:
        """The joint feature `[B, 2 D]` of pairs, text first, from both final first rows; arguments as for `forward`."""
        texts, images = self._fused(texts, images, padding, self.steps - 1)
        text = self._text_layer(-1, texts[:, :1], texts, images, padding)
        image = self._image_layer(-1, images[:, :1], images, texts, padding)
        return torch.cat([self.text_pooler(text[:, 0]), self.image_pooler(image[:, 0])], -1)

    def _fused(self, texts: Tensor, images: Tensor, padding: Tensor | None, steps: int) -> tuple[Tensor, Tensor]:
        for step in range(steps):
            texts, images = (
                self._text_layer(step, texts, texts, images, padding),
                self._image_layer(step, images, images, texts, padding),
            )
        return texts, images

    def _text_layer(self, step: int, rows: Tensor, texts: Tensor, images: Tensor, padding: Tensor | None) -> Tensor:
        return self.text_layers[step](rows, texts, images, stream_padding=padding)

    def _image_layer(self, step: int, rows: Tensor, images: Tensor, texts: Tensor, padding: Tensor | None) -> Tensor:
        return self.image_layers[step](rows, images, texts, context_padding=padding)


def _attend(attention: nn.MultiheadAttention, rows: Tensor, read: Tensor, padding: Tensor | None) -> Tensor:
    return attention(rows, read, read, key_padding_mask=padding, need_weights=False)[0]
