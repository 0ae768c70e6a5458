"""From a batch of images with texts to a network's input, its target and its keyword arguments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from .prepare_images import Device, PrepareAugmented, others, plain

__all__ = ["BlankImages", "PrepareBlankImageTexts", "PrepareImageTexts"]


class PrepareImageTexts(PrepareAugmented):
    """Move images, texts and numbers of classes to the device; nothing waits for it.

    Args:
        mean: as of `PrepareImages`.
        std: as of `PrepareImages`.
        augment: as of `PrepareAugmented`; none that mirrors, since texts speak of sides.

    Example:
        >>> prepare = PrepareImageTexts(0.449, 0.226)
        >>> image, target, _, words = prepare(CollateTexts("tokenizer")(items), "cuda")  # doctest: +SKIP
    """

    def __call__(
        self, batchdata: Mapping[str, Any], device: Device = None, non_blocking: bool = False, **kwargs: Any
    ) -> tuple[Tensor, dict[str, Tensor], tuple, dict[str, Tensor]]:
        """Prepare a batch.

        Args:
            batchdata: `image` `[B, 1, S, S]` of 0 to 255, `input_ids` and `attention_mask` `[B, L]`; what `label`
                reads; where there are such, `answer_type` and `index` `[B]`.
            device: where to.
            non_blocking: as for `Tensor.to`.
            kwargs: not used.

        Returns:
            The normalised image `[B, 1, S, S]`; the target: `label`, and `answer_type` and `index` `[B]`; no positional
            and two keyword arguments of the network, `input_ids` and `attention_mask` `[B, L]`.
        """
        words = others(batchdata, ("input_ids", "attention_mask"), device, non_blocking)
        target = {"label": self.label(batchdata, device, non_blocking)}
        target |= others(batchdata, ("answer_type", "index"), device, non_blocking)
        return self.normalised(self.seen(batchdata, device, non_blocking)), target, (), words

    def seen(self, batchdata: Mapping[str, Any], device: Device, non_blocking: bool) -> Tensor:
        """The image `[B, 1, S, S]` that is shown, in [0, 1]."""
        image = self.unit_image(batchdata, device, non_blocking)
        if self.augment is None:
            return image
        return self.augment(image, image.new_zeros((len(image), 0, *image.shape[2:]), dtype=torch.bool))[0]

    def label(self, batchdata: Mapping[str, Any], device: Device, non_blocking: bool) -> Tensor:
        """The batch's `label`, numbers of classes `[B]` int64, on the device."""
        return plain(batchdata["label"], device, non_blocking).long()


class BlankImages(PrepareImageTexts):
    """Base of what shows a black image in place of each.

    A network trained with images and evaluated so tells how much it owes to them.
    """

    def seen(self, batchdata: Mapping[str, Any], device: Device, non_blocking: bool) -> Tensor:
        """A black image `[B, 1, S, S]`, also after augmentation."""
        return torch.zeros_like(super().seen(batchdata, device, non_blocking))


class PrepareBlankImageTexts(BlankImages):
    """Show texts with black images, with the arguments of `PrepareImageTexts`."""
