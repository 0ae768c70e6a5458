"""Areas of a pseudo mask other than a fixed share of the image."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

__all__ = ["PeakArea", "WholeBody"]


class WholeBody:
    """All of the body, whatever the scores: the mask is what stands for the body (`engines.prepare_truth`)."""

    def __call__(self, score: Tensor, body: Tensor) -> Tensor:
        return body


class PeakArea:
    """Pixels of the body that score above a share of the image's best, the scores enlarged bilinearly (ours).

    A small finding gives a small mask and a large one a large mask. Where nothing scores above zero the mask is empty.

    Args:
        share: of the highest score within the body, in (0, 1).
        largest: share of the body's pixels that a mask covers at most; None: no limit. A flat map has half of the image
            above half of its peak, and says nothing about where.
    """

    def __init__(self, share: float = 0.5, largest: float | None = None) -> None:
        if not 0 < share < 1:
            raise ValueError(f"The share of the peak must lie between 0 and 1; it is {share}.")
        self.share = share
        self.largest = largest

    def __call__(self, score: Tensor, body: Tensor) -> Tensor:
        """Map scores `[B, h, w]` and body `[B, 1, H, W]`, bool, to the mask `[B, 1, H, W]`, bool."""
        fine = F.interpolate(score[:, None], size=body.shape[-2:], mode="bilinear", align_corners=False)
        inside = fine.masked_fill(~body, 0.0)
        threshold = self.share * inside.amax((2, 3), keepdim=True)
        if self.largest is not None:
            threshold = threshold.maximum(_limit(inside, body, self.largest))
        return (inside > threshold) & body


def _limit(inside: Tensor, body: Tensor, largest: float) -> Tensor:
    """The score above which no more than a share of the body lies: `[B, 1, 1, 1]`."""
    allowed = (largest * body.flatten(1).sum(1, keepdim=True)).long().clamp(max=body[0].numel() - 1)
    ordered = inside.masked_fill(~body, float("-inf")).flatten(1).sort(dim=1, descending=True).values
    return ordered.gather(1, allowed)[..., None, None]
