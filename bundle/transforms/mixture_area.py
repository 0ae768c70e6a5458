"""An area rule without a fixed share: a mixture of two normal distributions tells high scores from low ones."""

from __future__ import annotations

import torch
from torch import Tensor

from bundle.transforms.pseudo_mask import cells_in_body, pixels_in_cells

__all__ = ["MixtureArea"]

_SMALLEST_SHARE = 1e-3  # of a component, and of the scores' variance: one that shrinks to nothing explains nothing
_ROUNDING = 1e-6  # of fp32, relative


class MixtureArea:
    """Pixels whose score is more likely under the higher of two normal distributions.

    The mixture is fitted to each image's body alone, by expectation and maximisation over the cells of the map, each
    weighing as many pixels as the body has in it: on the device, in a fixed number of steps, without waiting. It starts
    from the halves below and above the mean. An image whose scores are all the same has no mask.

    Reference: G2D (arXiv 2312.01522), table 6b; how its mixture was fitted is not stated, so this is ours.

    Args:
        iterations: steps of the fit.
    """

    def __init__(self, iterations: int = 25) -> None:
        self.iterations = iterations

    def __call__(self, score: Tensor, body: Tensor) -> Tensor:
        """Part the scores.

        Args:
            score: `[B, h, w]`.
            body: `[B, 1, H, W]`, bool; `H` and `W` are multiples of `h` and `w`.

        Returns:
            `[B, 1, H, W]`, bool, inside the body.
        """
        weight = pixels_in_cells(score, body).double()
        weight = weight / weight.sum(1, keepdim=True).clamp_min(1)
        values = score.flatten(1).double()
        mean = (weight * values).sum(1, keepdim=True)
        variance = (weight * (values - mean) ** 2).sum(1, keepdim=True)
        # Equal scores differ from their mean by rounding, which must not be taken for a deviation.
        standard = (values - mean) / variance.sqrt().clamp_min(_ROUNDING * mean.abs() + torch.finfo(mean.dtype).tiny)
        high = self._high(standard, weight) > 0.5
        # A component that is wide reaches around a narrow one: below the mean nothing is high.
        return cells_in_body((high & (standard > 0)).view_as(score), body)

    def _high(self, values: Tensor, weight: Tensor) -> Tensor:
        """Probability of the higher component for values `[B, N]` of mean 0 and variance 1."""
        high = (values > 0).double()
        for _ in range(self.iterations):
            likelihoods = []
            for belongs in (1 - high, high):
                share = (weight * belongs).sum(1, keepdim=True).clamp_min(_SMALLEST_SHARE)
                centre = (weight * belongs * values).sum(1, keepdim=True) / share
                spread = (weight * belongs * (values - centre) ** 2).sum(1, keepdim=True) / share
                spread = spread.clamp_min(_SMALLEST_SHARE)
                likelihoods.append(share.log() - spread.log() / 2 - (values - centre) ** 2 / (2 * spread))
            high = (likelihoods[1] - likelihoods[0]).sigmoid()
        return high
