"""The control of every network that answers questions about images: one that reads the question alone."""

from __future__ import annotations

import torch
from torch import Tensor

from bundle.networks.blocks.answer_head import AnswerHead
from bundle.networks.encoders.text_encoder import TextEncoder
from bundle.networks.weights.freezing import FreezableNetwork

__all__ = ["QuestionOnly"]


class QuestionOnly(FreezableNetwork):
    """A text encoder and a head: answers, or classes, from the words alone.

    Many questions can be answered without the image, since their words give the answer away; what a network owes to
    images is what it has beyond this one.

    Args:
        text_encoder: of its own, with pooling "tokens".
        answers: K, number of answers or classes.

    Raises:
        ValueError: if the text encoder pools its tokens.

    Example:
        >>> control = QuestionOnly(TextEncoder(source, pooling="tokens"), len(vocabulary))
        >>> network = Answerer(image_encoder, text_encoder, fusion, head, control)
    """

    def __init__(self, text_encoder: TextEncoder, answers: int) -> None:
        super().__init__()
        if text_encoder.pooling != "tokens":
            raise ValueError(
                f"A QuestionOnly pools the words itself, but its text encoder has the pooling {text_encoder.pooling!r};"
                " build it with pooling 'tokens'."
            )
        self.text_encoder = text_encoder
        self.head = AnswerHead(2 * text_encoder.width, answers)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Answer from the first token and the mean of all.

        Args:
            input_ids: `[B, L]` int64, right-padded.
            attention_mask: `[B, L]`, 1 for a token, 0 for padding, which nothing reads.

        Returns:
            Logits `[B, K]`, fp32.
        """
        words = self.text_encoder(input_ids, attention_mask)
        there = attention_mask[..., None].to(words.dtype)
        mean = (words * there).sum(1) / there.sum(1)
        return self.head(torch.cat([words[:, 0], mean], -1))
