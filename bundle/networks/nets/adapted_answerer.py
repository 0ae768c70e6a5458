"""Answers to questions from a frozen image encoder with an Adaptor on it."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from bundle.networks.encoders.frozen_image import FrozenImage
from bundle.networks.encoders.text_encoder import TextEncoder
from bundle.networks.nets.answerer import Answerer
from bundle.networks.nets.question_only import QuestionOnly

__all__ = ["AdaptedAnswerer"]


class AdaptedAnswerer(Answerer):
    """An `Answerer` that reads adapted positions; freeze `image_encoder`, `adaptor` and `text_encoder`.

    Args:
        image_encoder: frozen.
        adaptor: an `Adaptor` or `TokenAdaptor`; or `PooledFeatures` for none.
        text_encoder: as of `Answerer`.
        fusion: as of `Answerer`; its image width is the adaptor's.
        head: as of `Answerer`.
        question_only: as of `Answerer`.
    """

    def __init__(
        self,
        image_encoder: FrozenImage,
        adaptor: nn.Module,
        text_encoder: TextEncoder,
        fusion: nn.Module,
        head: nn.Module,
        question_only: QuestionOnly | None = None,
    ) -> None:
        super().__init__(image_encoder, text_encoder, fusion, head, question_only)
        self.adaptor: Any = adaptor

    def encode_image(self, image: Tensor) -> Tensor:
        """Adapted tokens `[B, 1 + h * w, D]`, fp32, of images `[B, 1, H, W]`."""
        return self.adaptor.encode_tokens(self.image_encoder(image))
