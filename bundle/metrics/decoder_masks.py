"""What metrics of a pre-training's decoder share: its mask beside the pseudo mask it is trained on."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import ClassVar

import torch
from torch import Tensor

from .item_metric import ItemMetric
from .samples import Sampled, Samples

__all__ = ["DecoderMasks"]


class DecoderMasks(ItemMetric):
    """Means over images of figures of the decoder's mask and the pseudo mask, both cut at .5.

    Without a decoder (no `logits`) there is nothing to report. A subclass names the figures and computes them.

    Args:
        mask: draws the pseudo mask `[B, 1, S, S]` in [0, 1] from prediction and target, as `PseudoMask`.
    """

    names: ClassVar[tuple[str, ...]]

    def __init__(self, mask: Callable[[Mapping[str, Tensor], Mapping[str, Tensor]], Tensor]) -> None:
        super().__init__()
        self.mask = mask

    @abstractmethod
    def compare(self, decoded: Tensor, pseudo: Tensor, index: Tensor) -> list[Tensor]:
        """The figures of each image, `[B]` each, in the order of `names`; nan where there is none.

        Args:
            decoded: `[B, 1, S, S]` in {0, 1}.
            pseudo: the same.
            index: `[B]` int64, number in the data set.
        """

    def __call__(self, prediction: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> None:
        """Add a batch.

        Args:
            prediction: `logits` `[B, 1, S, S]` of the decoder, or none; and what `mask` reads.
            target: `index` `[B]` int64, number in the data set; and what `mask` reads.
        """
        if "logits" not in prediction:
            return
        decoded = (prediction["logits"].detach() > 0).float()
        pseudo = (self.mask(prediction, target) > 0.5).float()
        self.add(torch.stack(self.compare(decoded, pseudo, target["index"]), 1), target)

    def measure(self, rows: Tensor, index: Tensor) -> dict[str, Sampled]:
        """The mean of each figure over the images that have it."""
        known = ~rows.isnan()
        return {
            name: Samples(rows[known[:, column], column].double(), index[known[:, column]])
            for column, name in enumerate(self.names)
        }

    def aggregate(self) -> dict[str, float]:
        """Compute the means by name; nothing, without a decoder."""
        self._samples = {}
        return {} if self.get_buffer() is None else super().aggregate()
