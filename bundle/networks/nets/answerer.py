"""Answers to questions about radiographs."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from bundle.networks.encoders.frozen_image import FrozenImage, position_map
from bundle.networks.encoders.image_encoder import ImageEncoder
from bundle.networks.encoders.text_encoder import TextEncoder
from bundle.networks.weights.freezing import FreezableNetwork

__all__ = ["Answerer"]


class Answerer(FreezableNetwork):
    """Image encoder and text encoder of any method, a fusion, and a head over the answers of a vocabulary.

    `transfer` takes `image_encoder` and `text_encoder` over from a run of pre-training.

    Args:
        image_encoder: an `ImageEncoder`, whose last map is read, or a `FrozenImage`, whose positions are.
        text_encoder: with pooling "tokens".
        fusion: map `[B, C, h, w]`, words `[B, L, T]` and attention mask `[B, L]` to joint vectors `[B, J]`, such as a
            `QuestionFusion`.
        head: joint vectors to logits `[B, K]`, such as an `AnswerHead`.

    Raises:
        ValueError: if the text encoder pools its tokens.

    Example:
        >>> image_encoder, text_encoder = TimmEncoder("resnet18"), TextEncoder(source, pooling="tokens")
        >>> fusion = QuestionFusion(image_encoder.channels[-1], text_encoder.width)
        >>> network = Answerer(image_encoder, text_encoder, fusion, AnswerHead(fusion.joint_width, len(vocabulary)))
        >>> transfer(network, "runs/pretrain/g2d/models/model.safetensors", ["image_encoder", "text_encoder"])
    """

    def __init__(
        self, image_encoder: ImageEncoder | FrozenImage, text_encoder: TextEncoder, fusion: nn.Module, head: nn.Module
    ) -> None:
        super().__init__()
        if text_encoder.pooling != "tokens":
            raise ValueError(
                f"An Answerer reads all words, but its text encoder has the pooling {text_encoder.pooling!r}; build it "
                "with pooling 'tokens'."
            )
        self.image_encoder = image_encoder
        self.text_encoder = text_encoder
        self.fusion = fusion
        self.head = head

    def forward(self, image: Tensor, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Answer.

        Args:
            image: `[B, 1, H, W]`, normalised.
            input_ids: tokens of a question to each image, `[B, L]` int64, right-padded.
            attention_mask: `[B, L]`, 1 for a token, 0 for padding.

        Returns:
            Logits `[B, K]` of answers, fp32.
        """
        words = self.text_encoder(input_ids, attention_mask)
        return self.head(self.fusion(self._map(image), words, attention_mask))

    def _map(self, image: Tensor) -> Tensor:
        """The map `[B, C, h, w]` of radiographs that is read."""
        encoded = self.image_encoder(image)
        if isinstance(encoded, Tensor):
            return position_map(encoded, image)
        if self.training and encoded[0].requires_grad and len(encoded) > 1:
            return encoded[-1] + _idle(encoded[:-1])
        return encoded[-1]


def _idle(maps: Sequence[Tensor]) -> Tensor:
    """Zero that touches the maps that nothing else reads: what only they need gets a zero gradient, as DDP demands."""
    return 0 * torch.stack([x.flatten()[0].float() for x in maps]).sum()
