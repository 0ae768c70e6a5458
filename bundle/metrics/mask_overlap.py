"""How well the decoder reproduces the pseudo masks it is trained on."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from monai.metrics import Cumulative, compute_dice
from torch import Tensor

from .samples import Samples, first_of_each

__all__ = ["MaskOverlap"]


class MaskOverlap(Cumulative):
    """Dice between decoder and pseudo mask, and the share of the image that each covers, as means over images.

    Both are cut at .5. Two empty masks agree (Dice 1). Without a decoder (no `logits`) there is nothing to report.

    Args:
        mask: draws the pseudo mask `[B, 1, S, S]` in [0, 1] from prediction and target, as `PseudoMask`.
    """

    def __init__(self, mask: Callable[[Mapping[str, Tensor], Mapping[str, Tensor]], Tensor]) -> None:
        super().__init__()
        self.mask = mask
        self._samples: dict[str, Samples] = {}

    def __call__(self, prediction: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> None:
        """Add a batch.

        Args:
            prediction: `logits` `[B, 1, S, S]` of the decoder, or none; and what `mask` reads.
            target: `index` `[B]` int64, number in the data set; and what `mask` reads.
        """
        if "logits" not in prediction:
            return
        decoded = (prediction["logits"].detach().float().sigmoid() > 0.5).float()
        pseudo = (self.mask(prediction, target) > 0.5).float()
        dice = compute_dice(decoded, pseudo, include_background=True, ignore_empty=False)
        self.extend(dice[:, 0], decoded.mean((1, 2, 3)), pseudo.mean((1, 2, 3)), target["index"])

    def aggregate(self) -> dict[str, float]:
        """Compute `decoder_mask_dice`, `decoder_mask_share` and `pseudo_mask_share`, all in [0, 1]; or nothing."""
        self._samples = {}
        buffers = self.get_buffer()
        if buffers is not None:
            *columns, index = (buffer.cpu() for buffer in buffers)
            once = first_of_each(index)
            names = ("decoder_mask_dice", "decoder_mask_share", "pseudo_mask_share")
            self._samples = {
                name: Samples(column[once].double(), index[once]) for name, column in zip(names, columns, strict=True)
            }
        return {name: float(samples.values.mean()) for name, samples in self._samples.items()}

    def samples(self) -> dict[str, Samples]:
        """What the means of the latest `aggregate` were taken over, one value an image."""
        return self._samples
