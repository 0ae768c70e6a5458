"""How well pseudo masks, and the decoder that learned from them, agree with true masks that training never saw."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from monai.metrics import Cumulative, compute_dice
from torch import Tensor

from .samples import Samples, first_of_each

__all__ = ["MaskTruth"]


class MaskTruth(Cumulative):
    """Dice of the pseudo mask and of the decoder with the truth, as means over the images in which that marks anything.

    All are cut at .5. It is the decoder before it has seen any label.

    Args:
        mask: draws the pseudo mask `[B, 1, S, S]` in [0, 1] from prediction and target, as `PseudoMask`.
        truth: `[N, 1, S, S]`, bool, true masks of the data set as the network sees its images, by their numbers.
    """

    def __init__(self, mask: Callable[[Mapping[str, Tensor], Mapping[str, Tensor]], Tensor], truth: Tensor) -> None:
        super().__init__()
        self.mask = mask
        self.truth = truth
        self._samples: dict[str, Samples] = {}

    def __call__(self, prediction: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> None:
        """Add a batch.

        Args:
            prediction: `logits` `[B, 1, S, S]` of the decoder, or none; and what `mask` reads.
            target: `index` `[B]` int64, number in the data set; and what `mask` reads.
        """
        if "logits" not in prediction:
            return
        self.truth = self.truth.to(target["index"].device)
        truth = self.truth[target["index"]].float()
        decoded = (prediction["logits"].detach() > 0).float()
        pseudo = (self.mask(prediction, target) > 0.5).float()
        dice = [compute_dice(drawn, truth, include_background=True)[:, 0] for drawn in (pseudo, decoded)]
        self.extend(*dice, target["index"])

    def aggregate(self) -> dict[str, float]:
        """Compute `pseudo_mask_truth_dice` and `decoder_truth_dice`, in [0, 1]; or nothing, without a decoder."""
        self._samples = {}
        buffers = self.get_buffer()
        if buffers is not None:
            *columns, index = (buffer.cpu() for buffer in buffers)
            once = first_of_each(index)
            for name, column in zip(("pseudo_mask_truth_dice", "decoder_truth_dice"), columns, strict=True):
                marked = once[~column[once].isnan()]  # an empty truth has no Dice
                self._samples[name] = Samples(column[marked].double(), index[marked])
        return {name: float(samples.values.mean()) for name, samples in self._samples.items()}

    def samples(self) -> dict[str, Samples]:
        """What the means of the latest `aggregate` were taken over, one value an image."""
        return self._samples
