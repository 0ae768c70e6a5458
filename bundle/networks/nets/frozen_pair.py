"""Frozen encoders of images and reports with what is trained on top of them, from pixels and tokens."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from bundle.networks.encoders.frozen_image import FrozenImage, position_map
from bundle.networks.encoders.frozen_text import FrozenText, feature_mask

__all__ = ["FrozenPair"]


class FrozenPair(nn.Module):
    """An Adaptor with its frozen encoders: what it learned, in use, or trained with augmented images.

    Args:
        image_encoder: frozen.
        text_encoder: frozen.
        adaptor: an `Adaptor` or `TokenAdaptor`.
    """

    def __init__(self, image_encoder: FrozenImage, text_encoder: FrozenText, adaptor: nn.Module) -> None:
        super().__init__()
        self.image_encoder = image_encoder
        self.text_encoder = text_encoder
        self.adaptor: Any = adaptor

    def forward(
        self,
        image: Tensor,
        input_ids: Tensor,
        attention_mask: Tensor,
        lengths: list[int] | None = None,
        **others: Tensor,
    ) -> dict[str, Tensor]:
        """Embed pairs.

        Args:
            image: `[B, 1, H, W]`, normalised.
            input_ids: `[B, L]`, int64, right padded.
            attention_mask: `[B, L]`, 1 for a token and 0 for padding.
            lengths: token counts, as integers of the host.
            **others: what else the adaptor reads, such as `text_id` `[B]`.

        Returns:
            What the adaptor gives: `image_embedding` and `text_embedding` `[B, D]` of length 1, fp32, and more.
        """
        text = self.text_encoder(input_ids, attention_mask, lengths)
        return self.adaptor(self.image_encoder(image), text, text_mask=feature_mask(attention_mask), **others)

    def encode_image(self, image: Tensor) -> dict[str, Tensor]:
        """Embed radiographs `[B, 1, H, W]`: `image_embedding` `[B, D]` of length 1, fp32."""
        return {"image_embedding": self.embed_image(image)}

    def embed_image(self, image: Tensor) -> Tensor:
        """Embed radiographs `[B, 1, H, W]`: `[B, D]` of length 1, fp32."""
        return self.adaptor.encode_image(self.image_encoder(image))

    def encode_patches(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Patches `[B, D, h, w]` of radiographs `[B, 1, H, W]`: as projected, and sent through the adaptor's layers.

        In mode `paper` these have been trained on pooled vectors alone.
        """
        features = self.image_encoder(image)
        adapted = self.adaptor.encode_tokens(features)
        return position_map(self.adaptor.project_image(features), image), position_map(adapted, image)

    def encode_text(self, input_ids: Tensor, attention_mask: Tensor, lengths: list[int] | None = None) -> Tensor:
        """Embed reports: tokens `[B, L]` to `[B, D]` of length 1, fp32."""
        features = self.text_encoder(input_ids, attention_mask, lengths)
        return self.adaptor.encode_text(features, feature_mask(attention_mask))
