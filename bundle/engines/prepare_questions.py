"""From a batch of questions to a network's input, its target and its keyword arguments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from .prepare_image_texts import BlankImages, PrepareImageTexts
from .prepare_images import Augment, Device, plain

__all__ = ["PrepareBlankQuestions", "PrepareQuestions"]


class PrepareQuestions(PrepareImageTexts):
    """Move images and questions to the device; nothing waits for it.

    A batch of `CollateQuestions` has `answers` `[B, M]` in place of a label; the target's `label` is `[B, K]` float32,
    1 for right answers, all 0 where none is in the vocabulary.

    Args:
        mean: as of `PrepareImages`.
        std: as of `PrepareImages`.
        answers: number of answers in the vocabulary.
        augment: as of `PrepareAugmented`; none that mirrors, since questions ask for sides.

    Example:
        >>> prepare = PrepareQuestions(0.449, 0.226, len(vocabulary))
        >>> image, target, _, words = prepare(CollateQuestions("tokenizer")(items), "cuda")  # doctest: +SKIP
    """

    def __init__(self, mean: float, std: float, answers: int, augment: Augment | None = None) -> None:
        super().__init__(mean, std, augment)
        self.answers = answers

    def label(self, batchdata: Mapping[str, Any], device: Device, non_blocking: bool) -> Tensor:
        """Numbers of right answers `[B, M]`, -1 for none, as 1 among K zeros: `[B, K]` float32."""
        answers = plain(batchdata["answers"], device, non_blocking)
        places = answers.where(answers >= 0, self.answers)  # one place more takes what is none
        label = torch.zeros(len(answers), self.answers + 1, device=answers.device)
        return label.scatter(1, places, 1.0)[:, : self.answers]


class PrepareBlankQuestions(BlankImages, PrepareQuestions):
    """Show questions with black images, with the arguments of `PrepareQuestions`."""
