"""Learned factor and offset of the cosine similarities of image and report."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

__all__ = ["PairScale", "bounded_exp"]


class PairScale(nn.Module):
    """What cosine similarities are multiplied with, and what is added, both learned.

    Args:
        scale: factor at first: 14.28, a temperature of 0.07, in CLIP; 10 in SigLIP.
        bias: offset at first, for `SigmoidContrastiveLoss`: -10 in SigLIP, whose batches have 32,768 pairs. One pair of
            a row of B belongs together, so about -ln(B) says at first what is known. None: there is no offset, for
            `ContrastiveLoss`, which it would not change.
        max_scale: bound of the factor (CLIP's 100).

    Reference: CLIP (arXiv 2103.00020), section 2.5; SigLIP (arXiv 2303.15343), section 3.2.
    """

    def __init__(self, scale: float = 1 / 0.07, bias: float | None = None, max_scale: float = 100.0) -> None:
        super().__init__()
        self.max_scale = max_scale
        self.logit_scale = nn.Parameter(torch.tensor(math.log(scale)))
        self.logit_bias = None if bias is None else nn.Parameter(torch.tensor(float(bias)))

    def forward(self) -> dict[str, Tensor]:
        """Return `logit_scale`, and `logit_bias` where there is one, scalars in fp32."""
        scale = {"logit_scale": bounded_exp(self.logit_scale, self.max_scale)}
        return scale if self.logit_bias is None else scale | {"logit_bias": self.logit_bias.float()}


def bounded_exp(logarithm: nn.Parameter, bound: float) -> Tensor:
    """Exponential of a trained scalar, at most `bound`, in fp32.

    The parameter itself is held back: a bound on its exponential alone would take away the gradient that leads down
    again.
    """
    with torch.no_grad():
        logarithm.clamp_(max=math.log(bound))
    return logarithm.float().exp()
