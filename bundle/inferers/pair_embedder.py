"""Pairs of radiograph and report as vectors, from the tokens of a packed store."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bundle.inferers.autocast import AutocastInferer
from bundle.inferers.vision_language import VisionLanguageModel

__all__ = ["PairEmbedder"]


class PairEmbedder(nn.Module):
    """Embeds the pairs of a batch as validation in pre-training does, without decoding.

    Args:
        model: what embeds them.

    Example:
        >>> embedder = PairEmbedder(VisionLanguageModel.from_run("runs/pretrain/g2d"))  # doctest: +SKIP
        >>> embedder.blank_image().shape  # doctest: +SKIP
        torch.Size([128])
    """

    def __init__(self, model: VisionLanguageModel) -> None:
        super().__init__()
        self.model = model
        self._call = AutocastInferer(model.precision)

    @torch.no_grad()
    def forward(
        self, image: Tensor, input_ids: Tensor, attention_mask: Tensor, lengths: list[int] | None = None
    ) -> dict[str, Tensor]:
        """Embed pairs.

        Args:
            image: `[B, 1, S, S]`, normalised.
            input_ids: `[B, L]` int64, right padded.
            attention_mask: `[B, L]`, 1 for a token and 0 for padding.
            lengths: token counts, as integers of the host.

        Returns:
            `image_embedding` and `text_embedding` `[B, D]` of length 1, fp32.
        """
        text = self._call(input_ids, self.model.network.encode_text, attention_mask, lengths)
        return {"image_embedding": self.model.embed(image), "text_embedding": text}

    @torch.no_grad()
    def blank_image(self) -> Tensor:
        """Embedding `[D]` of an image that is black all over."""
        side = self.model.image_size
        return self.model.embed_images(torch.zeros(1, 1, side, side, dtype=torch.uint8))[0]
