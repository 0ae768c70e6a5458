"""How well pseudo masks, and the decoder that learned from them, agree with true masks that training never saw."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar

from monai.metrics import compute_dice
from torch import Tensor

from .decoder_masks import DecoderMasks

__all__ = ["MaskTruth"]


class MaskTruth(DecoderMasks):
    """Dice of the pseudo mask and of the decoder with the truth, over the images in which that marks anything.

    It is the decoder before it has seen any label.

    Args:
        mask: as of `DecoderMasks`.
        truth: `[N, 1, S, S]`, bool, true masks of the data set as the network sees its images, by their numbers.
    """

    names: ClassVar[tuple[str, ...]] = ("pseudo_mask_truth_dice", "decoder_truth_dice")

    def __init__(self, mask: Callable[[Mapping[str, Tensor], Mapping[str, Tensor]], Tensor], truth: Tensor) -> None:
        super().__init__(mask)
        self.truth = truth

    def compare(self, decoded: Tensor, pseudo: Tensor, index: Tensor) -> list[Tensor]:
        """As `DecoderMasks.compare`."""
        self.truth = self.truth.to(index.device)
        truth = self.truth[index].float()
        return [compute_dice(drawn, truth, include_background=True)[:, 0] for drawn in (pseudo, decoded)]
