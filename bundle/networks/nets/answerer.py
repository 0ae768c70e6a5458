"""Answers to questions about radiographs, and classes of radiographs with texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, Self, cast

import torch
from torch import Tensor, nn

from bundle.networks.encoders.frozen_image import FrozenImage, position_map
from bundle.networks.encoders.image_encoder import ImageEncoder
from bundle.networks.encoders.text_encoder import TextEncoder
from bundle.networks.encoders.vision_transformer import VisionTransformer
from bundle.networks.nets.question_only import QuestionOnly
from bundle.networks.weights.freezing import FreezableNetwork, Statistics

__all__ = ["Answerer", "Fusion"]


class Fusion(Protocol):
    """What joins an image and a text: a `QuestionFusion`, a `JoiningAttention`, or another module with these two."""

    @property
    def joint_width(self) -> int:
        """J, size of the joint vector."""
        ...

    def join(self, pooled: Tensor, cells: Tensor, words: Tensor, attention_mask: Tensor) -> Tensor:
        """From image, whole `[B, C]` and in cells `[B, C, h, w]`, words `[B, L, T]` and their mask to `[B, J]`."""
        ...


class Answerer(FreezableNetwork):
    """Image encoder and text encoder of any method, a fusion, and a head over the answers of a vocabulary.

    `transfer` takes `image_encoder` and `text_encoder` over from a run of pre-training, of M3AE `fusion` too. The
    control shares nothing with the rest: its parameters and its gradient are its own.

    Args:
        image_encoder: an `ImageEncoder`, whose last map is read, with its mean as pooled vector; or a
            `VisionTransformer` or `FrozenImage`, whose tokens are, the first as pooled vector.
        text_encoder: with pooling "tokens".
        fusion: a module that joins image and text, see `Fusion`.
        head: joint vectors `[B, J]` to logits `[B, K]`, such as an `AnswerHead`.
        question_only: the control without image, trained beside; None for none.

    Raises:
        ValueError: if the text encoder pools its tokens.

    Example:
        >>> image_encoder, text_encoder = TimmEncoder("resnet18"), TextEncoder(source, pooling="tokens")
        >>> fusion = QuestionFusion(image_encoder.channels[-1], text_encoder.width)
        >>> network = Answerer(image_encoder, text_encoder, fusion, AnswerHead(fusion.joint_width, len(vocabulary)))
        >>> transfer(network, "runs/pretrain/g2d/models/model.safetensors", ["image_encoder", "text_encoder"])
    """

    def __init__(
        self,
        image_encoder: ImageEncoder | FrozenImage | VisionTransformer,
        text_encoder: TextEncoder,
        fusion: nn.Module,
        head: nn.Module,
        question_only: QuestionOnly | None = None,
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
        self.question_only = question_only

    def forward(self, image: Tensor, input_ids: Tensor, attention_mask: Tensor) -> dict[str, Tensor]:
        """Answer.

        Args:
            image: `[B, 1, H, W]`, normalised.
            input_ids: tokens of a question to each image, `[B, L]` int64, right-padded.
            attention_mask: `[B, L]`, 1 for a token, 0 for padding.

        Returns:
            `logits` `[B, K]` of answers, fp32; with a control also `question_only_logits` `[B, K]`, fp32.
        """
        words = self.text_encoder(input_ids, attention_mask)
        logits = self.head(cast(Fusion, self.fusion).join(*self._seen(image), words, attention_mask))
        if self.question_only is None:
            return {"logits": logits}
        return {"logits": logits, "question_only_logits": self.question_only(input_ids, attention_mask)}

    def encode_image(self, image: Tensor) -> Tensor | Sequence[Tensor]:
        """What the fusion is to read of images `[B, 1, H, W]`: tokens `[B, 1 + h * w, C]`, or maps, finest first."""
        return self.image_encoder(image)

    def align_control(self) -> Self:
        """Let the control begin with the text encoder's weights, wherever they came from; returns the network."""
        if self.question_only is not None:
            self.question_only.text_encoder.load_state_dict(self.text_encoder.state_dict())
        return self

    def without_control(self) -> nn.ModuleList:
        """The network's parts but for the control, such as for the norm of their gradient."""
        return nn.ModuleList(part for name, part in self.named_children() if name != "question_only")

    def freeze(self, parts: Sequence[str], statistics: Statistics = "fixed") -> Self:
        """As of `FreezableNetwork`; with `text_encoder` that of the control is frozen, too, so that both are alike."""
        super().freeze(parts, statistics)
        if self.question_only is not None and "text_encoder" in parts:
            self.question_only.freeze(["text_encoder"], statistics)
        return self

    def _seen(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Images as a whole `[B, C]` and in cells `[B, C, h, w]`."""
        encoded = self.encode_image(image)
        if isinstance(encoded, Tensor):
            return encoded[:, 0], position_map(encoded, image)
        *finer, last = encoded
        if self.training and finer and last.requires_grad:
            last = last + _idle(finer)
        return last.float().mean((2, 3)).to(last.dtype), last


def _idle(maps: Sequence[Tensor]) -> Tensor:
    """Zero that touches the maps that nothing else reads: what only they need gets a zero gradient, as DDP demands."""
    return 0 * torch.stack([x.flatten()[0].float() for x in maps]).sum()
