"""Pseudo masks of other images: what remains of a gain when the masks say nothing of their image."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

__all__ = ["ShuffledMasks"]

Tensors = dict[str, Tensor]

_MULTIPLIER, _MODULUS = 2_654_435_761, 2**32  # Knuth's multiplicative hash: neighbours in a list end up far apart


class ShuffledMasks:
    """Give each image of a batch the mask of another one.

    Partners follow from the items' numbers and from who shares the batch, so they change from epoch to epoch without a
    random number being drawn; no image keeps its own mask unless it is alone.

    Reference: G2D (arXiv 2312.01522), table 8.

    Args:
        mask: draws the masks `[B, 1, H, W]` from prediction and target, as `PseudoMask`.
    """

    def __init__(self, mask: Callable[[Tensors, Tensors], Tensor]) -> None:
        self.mask = mask

    def __call__(self, prediction: Tensors, target: Tensors) -> Tensor:
        """Draw the masks and pass them on, `[B, 1, H, W]`.

        Args:
            prediction: what `mask` reads.
            target: what `mask` reads, and `index` `[B]`, int64, number of each item in the data set.
        """
        order = (target["index"] * _MULTIPLIER % _MODULUS).argsort()
        given = self.mask(prediction, target)
        passed = given.clone()
        passed[order] = given[order.roll(1)]
        return passed
