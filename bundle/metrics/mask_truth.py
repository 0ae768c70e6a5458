"""How well pseudo masks, and the decoder that learned from them, agree with true masks that training never saw."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar

from monai.metrics import compute_confusion_matrix_metric, compute_dice, get_confusion_matrix
from torch import Tensor

from .decoder_masks import DecoderMasks

__all__ = ["MaskTruth"]


class MaskTruth(DecoderMasks):
    """Dice of the pseudo mask and of the decoder with the truth, over the images in which that marks anything.

    The decoder is seen before it has seen any label. Where little is marked, and where much is, precision and recall
    tell whether pseudo masks are as large as what they stand for.

    Args:
        mask: as of `DecoderMasks`.
        truth: `[N, 1, S, S]`, bool, true masks of the data set as the network sees its images, by their numbers.
        small: share of an image that is marked at most where little is.
        large: share of an image that is marked at least where much is.
    """

    names: ClassVar[tuple[str, ...]] = (
        "pseudo_mask_truth_dice",
        "decoder_truth_dice",
        "pseudo_mask_precision_small",
        "pseudo_mask_recall_small",
        "pseudo_mask_precision_large",
        "pseudo_mask_recall_large",
    )

    def __init__(
        self,
        mask: Callable[[Mapping[str, Tensor], Mapping[str, Tensor]], Tensor],
        truth: Tensor,
        small: float = 0.025,
        large: float = 0.12,
    ) -> None:
        super().__init__(mask)
        self.truth = truth
        self.small = small
        self.large = large

    def compare(self, decoded: Tensor, pseudo: Tensor, index: Tensor) -> list[Tensor]:
        """As `DecoderMasks.compare`."""
        self.truth = self.truth.to(index.device)
        truth = self.truth[index].float()
        figures = [compute_dice(drawn, truth, include_background=True)[:, 0] for drawn in (pseudo, decoded)]
        share, counts = truth.mean((1, 2, 3)), get_confusion_matrix(pseudo, truth, include_background=True)[:, 0]
        precision, recall = (compute_confusion_matrix_metric(name, counts) for name in ("precision", "recall"))
        for of_size in ((share > 0) & (share <= self.small), share >= self.large):
            figures += [figure.where(of_size, float("nan")) for figure in (precision, recall)]
        return figures
