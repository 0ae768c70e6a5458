"""From a batch of questions to a network's input, its target and its keyword arguments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from .prepare_images import Augment, Device, PrepareAugmented, others, plain

__all__ = ["PrepareBlankQuestions", "PrepareQuestions"]


class PrepareQuestions(PrepareAugmented):
    """Move images and questions to the device; nothing waits for it.

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

    def __call__(
        self, batchdata: Mapping[str, Any], device: Device = None, non_blocking: bool = False, **kwargs: Any
    ) -> tuple[Tensor, dict[str, Tensor], tuple, dict[str, Tensor]]:
        """Prepare a batch of `CollateQuestions`.

        Args:
            batchdata: `image` `[B, 1, S, S]` of 0 to 255, `input_ids` and `attention_mask` `[B, L]`, `answers`
                `[B, M]`; where there are such, `answer_type` and `index` `[B]`.
            device: where to.
            non_blocking: as for `Tensor.to`.
            kwargs: not used.

        Returns:
            The normalised image `[B, 1, S, S]`; the target: `label` `[B, K]` float32, 1 for right answers, all 0 where
            none is in the vocabulary, and `answer_type` and `index` `[B]`; no positional and two keyword arguments of
            the network, `input_ids` and `attention_mask` `[B, L]`.
        """
        words = others(batchdata, ("input_ids", "attention_mask"), device, non_blocking)
        target = {"label": self.label(plain(batchdata["answers"], device, non_blocking))}
        target |= others(batchdata, ("answer_type", "index"), device, non_blocking)
        return self.normalised(self.seen(batchdata, device, non_blocking)), target, (), words

    def seen(self, batchdata: Mapping[str, Any], device: Device, non_blocking: bool) -> Tensor:
        """The image `[B, 1, S, S]` that is shown, in [0, 1]."""
        image = self.unit_image(batchdata, device, non_blocking)
        if self.augment is None:
            return image
        return self.augment(image, image.new_zeros((len(image), 0, *image.shape[2:]), dtype=torch.bool))[0]

    def label(self, answers: Tensor) -> Tensor:
        """Numbers of right answers `[B, M]`, -1 for none, as 1 among K zeros: `[B, K]` float32."""
        places = answers.where(answers >= 0, self.answers)  # one place more takes what is none
        label = torch.zeros(len(answers), self.answers + 1, device=answers.device)
        return label.scatter(1, places, 1.0)[:, : self.answers]


class PrepareBlankQuestions(PrepareQuestions):
    """Show a black image in place of each.

    A network trained with images and evaluated so tells how much it owes to them; a network trained and evaluated so is
    the baseline that reads the question alone.
    """

    def seen(self, batchdata: Mapping[str, Any], device: Device, non_blocking: bool) -> Tensor:
        """A black image `[B, 1, S, S]`, also after augmentation."""
        return torch.zeros_like(super().seen(batchdata, device, non_blocking))
