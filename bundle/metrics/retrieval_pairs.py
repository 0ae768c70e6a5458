"""Embedded pairs of image and text, as retrieval is measured on them and on its controls."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .samples import first_of_each

__all__ = ["Pairs"]


@dataclass(frozen=True)
class Pairs:
    """N pairs on one device.

    Attributes:
        image: `[N, d]` fp32.
        text: `[N, d]` fp32.
        text_id: `[N]` int64, equal for equal texts.
        index: `[N]` int64, number of each pair in the data set.
    """

    image: Tensor
    text: Tensor
    text_id: Tensor
    index: Tensor

    def in_order(self) -> Pairs:
        """Each pair once, by its number in the data set."""
        order = self.index.argsort(stable=True)
        return self.of(order[first_of_each(self.index[order])])

    def of(self, rows: Tensor) -> Pairs:
        """Some pairs, by position `[M]` int64 or as `[N]` bool."""
        return Pairs(self.image[rows], self.text[rows], self.text_id[rows], self.index[rows])

    def shuffled(self, seed: int) -> Pairs:
        """Images with the texts of others: one random order of the texts, the same on every device."""
        order = torch.randperm(len(self.index), generator=torch.Generator().manual_seed(seed)).to(self.index.device)
        return replace(self, text=self.text[order], text_id=self.text_id[order])

    def with_image(self, image: Tensor) -> Pairs:
        """One image, embedded as `[d]`, in place of every other."""
        return replace(self, image=image.to(self.image).expand_as(self.image))
