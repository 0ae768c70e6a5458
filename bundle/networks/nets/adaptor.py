"""The published Adaptor: frozen features of images and reports brought into one space by a small trained module."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bundle.networks.blocks.adaptor_layer import ValueLayer
from bundle.networks.blocks.pair_scale import bounded_exp

__all__ = ["INITIAL_LOGIT_SCALE", "Adaptor", "AdaptorBase"]

INITIAL_LOGIT_SCALE = 2.6592
"""Natural logarithm of what cosine similarities are multiplied with at first: 14.28, a temperature of 0.07."""


class AdaptorBase(nn.Module):
    """Projections into a common width and a learned temperature: what all Adaptors have.

    Args:
        image_width: C of the images' features.
        text_width: C of the texts' features.
        width: D of the common space.
        max_scale: bound of the factor of the cosine similarities (CLIP's 100); None: none, as published.

    Attributes:
        width: D of the common space.
        logit_scale: the factor's natural logarithm, a trained scalar.
    """

    def __init__(self, image_width: int, text_width: int, width: int, max_scale: float | None) -> None:
        super().__init__()
        self.width = width
        self.max_scale = max_scale
        self.image_projection = nn.Linear(image_width, width, bias=False)
        self.text_projection = nn.Linear(text_width, width, bias=False)
        self.logit_scale = nn.Parameter(torch.tensor(INITIAL_LOGIT_SCALE))

    def scale(self) -> Tensor:
        """Factor of the cosine similarities, a scalar in fp32."""
        if self.max_scale is None:
            return self.logit_scale.float().exp()
        return bounded_exp(self.logit_scale, self.max_scale)

    def project_image(self, features: Tensor) -> Tensor:
        """Project features `[B, T, C]` of images to tokens `[B, T, D]` of length 1."""
        return _project(features, self.image_projection, "images")

    def project_text(self, features: Tensor) -> Tensor:
        """Project features `[B, L, C]` of texts to tokens `[B, L, D]` of length 1."""
        return _project(features, self.text_projection, "texts")


class Adaptor(AdaptorBase):
    """The Adaptor exactly as published, in mode `paper`: one token an image, one a report.

    Projected and of length 1, the token of either modality goes through the same layers, and its length is made 1
    again. In the published code each layer attends from the other modality's token; with one key, that has no influence
    (see `ValueLayer`). So **image and report never exchange information**: this is a residual MLP, shared by both
    modalities, on each projected embedding by itself, trained as CLIP is. Were it otherwise, a contrastive loss on
    outputs that have seen their partner would be trivial.

    Reference: Adaptor (ICASSP 2024, arXiv 2401.01179).

    Args:
        image_width: C of the frozen image encoder: 512 for the autoencoder, 384 and 768 for DINOv2's S and B.
        text_width: C of the frozen text encoder.
        width: D of the common space.
        layers: number of layers; 0 leaves the projections alone, a baseline.
        heads: of a layer's attention.
        feedforward: width within a layer's feed-forward.
        dropout: within layers.
        max_scale: bound of the factor of the cosine similarities; None as published.

    Attributes:
        width: D of the common space.
        logit_scale: natural logarithm of the factor of the cosine similarities.

    Example:
        >>> adaptor = Adaptor(image_width=512, text_width=768)
        >>> sum(parameter.numel() for parameter in adaptor.parameters())
        12011009
        >>> adaptor(torch.randn(4, 1, 512), torch.randn(4, 1, 768))["image_embedding"].shape
        torch.Size([4, 768])
    """

    def __init__(
        self,
        image_width: int,
        text_width: int,
        width: int = 768,
        layers: int = 2,
        heads: int = 12,
        feedforward: int = 2048,
        dropout: float = 0.1,
        max_scale: float | None = 100.0,
    ) -> None:
        super().__init__(image_width, text_width, width, max_scale)
        self.layers = nn.Sequential(*(ValueLayer(width, heads, feedforward, dropout) for _ in range(layers)))

    def forward(self, image_features: Tensor, text_features: Tensor, **_: Any) -> dict[str, Tensor]:
        """Embed pairs.

        Args:
            image_features: `[B, T, C]`, of which only the first position, the pooled vector, is read.
            text_features: `[B, L, C]`, likewise.
            **_: masks and numbers of texts, which other Adaptors read.

        Returns:
            `image_embedding` and `text_embedding` `[B, D]` of length 1, fp32; `logit_scale`, the factor of their cosine
            similarities, a scalar.

        Raises:
            ValueError: if features lack the dimension of tokens or have another width.
        """
        return {
            "image_embedding": self.encode_image(image_features),
            "text_embedding": self.encode_text(text_features),
            "logit_scale": self.scale(),
        }

    def encode_image(self, features: Tensor) -> Tensor:
        """Embed images by their features `[B, T, C]`: `[B, D]` of length 1, fp32."""
        return _unit(self.layers(self.project_image(features)[:, :1])[:, 0])

    def encode_text(self, features: Tensor, mask: Tensor | None = None) -> Tensor:
        """Embed texts by their features `[B, L, C]`: `[B, D]` of length 1, fp32; the mask is not needed."""
        return _unit(self.layers(self.project_text(features)[:, :1])[:, 0])

    def encode_tokens(self, features: Tensor) -> Tensor:
        """Take every token of images `[B, T, C]` through the layers, each by itself: `[B, T, D]` of length 1, fp32."""
        return _unit(self.layers(self.project_image(features)))


def _project(features: Tensor, projection: nn.Linear, whose: str) -> Tensor:
    if features.dim() != 3 or features.shape[-1] != projection.in_features:
        raise ValueError(
            f"Features of {whose} must be [batch, tokens, {projection.in_features}], not {list(features.shape)}; a "
            "pooled vector is one token: give features[:, None]."
        )
    return F.normalize(projection(features.to(projection.weight.dtype)), dim=-1)


def _unit(tokens: Tensor) -> Tensor:
    return F.normalize(tokens.float(), dim=-1)
