"""An Adaptor that reads all patches and words, and whose modalities do exchange information."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bundle.networks.blocks.adaptor_layer import FusionLayer
from bundle.networks.nets.adaptor import AdaptorBase

__all__ = ["TokenAdaptor", "hard_negatives"]


class TokenAdaptor(AdaptorBase):
    """Mode `tokens`: every modality reads its own tokens and is embedded, only then the two are fused.

    1. Projected tokens of length 1 go through `layers` of self-attention, shared by both modalities. The first
       position, made of length 1, is the embedding that the contrastive loss and all searching use. It has not seen
       the partner: otherwise a contrastive loss would be trivial.
    2. `fusion_layers` of cross-attention, shared likewise: images read their text, then texts their image as it has
       become, the residual on the reading stream. The first positions of both say whether image and text belong
       together: for each pair, for its image with a hard negative text, and for its text with a hard negative image.

    Padding of texts is read by nothing. Negatives are those of the own process, unlike the contrastive loss's.

    Reference: ALBEF (arXiv 2107.07651), section 3, for the order of contrastive loss and fusion and for hard negatives.

    Args:
        image_width: C of the frozen image encoder.
        text_width: C of the frozen text encoder.
        width: D of the common space.
        layers: of self-attention before the embedding; 0 leaves the projections of the pooled vectors alone.
        fusion_layers: of cross-attention after it, one or more. With one of each there are as many layers as the
            published two.
        heads: of a layer's attention.
        feedforward: width within a layer's feed-forward.
        dropout: within layers.
        max_scale: bound of the factor of the cosine similarities; None for none.

    Attributes:
        width: D of the common space.
        logit_scale: natural logarithm of the factor of the cosine similarities.

    Raises:
        ValueError: if there is no fusion layer.

    Example:
        >>> adaptor = TokenAdaptor(image_width=384, text_width=768)
        >>> adaptor(torch.randn(4, 257, 384), torch.randn(4, 60, 768))["matching_logits"].shape
        torch.Size([12])
    """

    def __init__(
        self,
        image_width: int,
        text_width: int,
        width: int = 768,
        layers: int = 1,
        fusion_layers: int = 1,
        heads: int = 12,
        feedforward: int = 2048,
        dropout: float = 0.1,
        max_scale: float | None = 100.0,
    ) -> None:
        super().__init__(image_width, text_width, width, max_scale)
        if fusion_layers < 1:
            raise ValueError("A TokenAdaptor needs a fusion layer or more; Adaptor is the one without fusion.")
        sizes = (width, heads, feedforward, dropout)
        self.layers = nn.ModuleList(FusionLayer(*sizes) for _ in range(layers))
        self.fusion_layers = nn.ModuleList(FusionLayer(*sizes) for _ in range(fusion_layers))
        self.matching = nn.Linear(2 * width, 1)

    def forward(
        self,
        image_features: Tensor,
        text_features: Tensor,
        text_mask: Tensor | None = None,
        text_id: Tensor | None = None,
        **_: Any,
    ) -> dict[str, Tensor]:
        """Embed pairs and judge them.

        Args:
            image_features: `[B, T, C]`, the pooled vector first.
            text_features: `[B, L, C]`, likewise.
            text_mask: `[B, L]`, 1 where a feature is and 0 for padding; None: no padding.
            text_id: int64 `[B]`; pairs with equal numbers are no negatives of each other. None: all differ.
            **_: what other Adaptors read.

        Returns:
            `image_embedding` and `text_embedding` `[B, D]` of length 1, fp32, before fusion; `logit_scale`, a scalar;
            `matching_logits` `[3B]`, fp32, of own pairs, images with negative texts, texts with negative images; and
            `matching_label` `[3B]`, fp32: 1, 0, 0, or nan where the batch holds no negative.

        Raises:
            ValueError: if features lack the dimension of tokens or have another width.
        """
        padding = _padding(text_mask)
        images, texts = self._images(image_features), self._texts(text_features, padding)
        image, text, scale = _embedding(images), _embedding(texts), self.scale()
        numbers = torch.arange(len(images), device=images.device) if text_id is None else text_id
        similarity = (scale * image @ text.T).detach()
        other_text = hard_negatives(similarity, numbers, self.training)
        other_image = hard_negatives(similarity.T, numbers, self.training)
        own = torch.arange(len(images), device=images.device)
        rows, columns = torch.cat([own, own, other_image]), torch.cat([own, other_text, own])
        logits = self.match(images[rows], texts[columns], None if padding is None else padding[columns])
        return {
            "image_embedding": image,
            "text_embedding": text,
            "logit_scale": scale,
            "matching_logits": logits,
            "matching_label": _labels(numbers),
        }

    def encode_image(self, features: Tensor) -> Tensor:
        """Embed images by their features `[B, T, C]`: `[B, D]` of length 1, fp32."""
        return _embedding(self._images(features))

    def encode_text(self, features: Tensor, mask: Tensor | None = None) -> Tensor:
        """Embed texts by their features `[B, L, C]`, with their mask `[B, L]`: `[B, D]` of length 1, fp32."""
        return _embedding(self._texts(features, _padding(mask)))

    def encode_tokens(self, features: Tensor) -> Tensor:
        """Tokens of images before fusion: features `[B, T, C]` to `[B, T, D]` of length 1, fp32."""
        return F.normalize(self._images(features).float(), dim=-1)

    def match(self, images: Tensor, texts: Tensor, padding: Tensor | None = None) -> Tensor:
        """Judge whether images and texts belong together.

        Args:
            images: tokens before fusion, `[N, T, D]`.
            texts: likewise, `[N, L, D]`.
            padding: bool `[N, L]`, true for padding of texts.

        Returns:
            Logits `[N]`, fp32.
        """
        for layer in self.fusion_layers:
            images = layer(images, texts, padding)
            texts = layer(texts, images)
        return self.matching(torch.cat([images[:, 0], texts[:, 0]], -1))[:, 0].float()

    def _images(self, features: Tensor) -> Tensor:
        tokens = self.project_image(features)
        for layer in self.layers:
            tokens = layer(tokens, tokens)
        return tokens

    def _texts(self, features: Tensor, padding: Tensor | None) -> Tensor:
        tokens = self.project_text(features)
        for layer in self.layers:
            tokens = layer(tokens, tokens, padding)
        return tokens


def hard_negatives(similarity: Tensor, numbers: Tensor, draw: bool) -> Tensor:
    """Choose for each row another column that is hard to tell from the row's own.

    Args:
        similarity: logits `[B, B]`; rows and columns of a number belong together.
        numbers: int64 `[B]`, numbers of rows and of columns; equal ones are no negatives of each other.
        draw: draw columns with the probabilities that softmax gives; otherwise take the most similar.

    Returns:
        Columns, int64 `[B]`; anything where all numbers are equal.
    """
    logits = similarity.float()
    if draw:
        # The largest of logits with Gumbel noise is a draw from their softmax, without asking the device anything.
        logits = logits - torch.empty_like(logits).exponential_().log()
    return logits.masked_fill(numbers[:, None] == numbers[None, :], float("-inf")).argmax(-1)


def _embedding(tokens: Tensor) -> Tensor:
    return F.normalize(tokens[:, 0].float(), dim=-1)


def _padding(mask: Tensor | None) -> Tensor | None:
    return None if mask is None else mask == 0


def _labels(numbers: Tensor) -> Tensor:
    """1 for own pairs, 0 for negatives, nan where a row has none: fp32 `[3B]`."""
    alone = (numbers[:, None] == numbers[None, :]).all(-1)
    negative = torch.zeros(len(numbers), device=numbers.device).masked_fill(alone, float("nan"))
    return torch.cat([torch.ones_like(negative), negative, negative])
