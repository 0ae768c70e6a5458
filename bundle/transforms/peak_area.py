"""Areas of a pseudo mask other than a fixed share of the image."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from bundle.transforms.pseudo_mask import pixels_in_cells

__all__ = ["PeakArea", "WholeBody"]

_PLACES = 4  # a cell's width


class WholeBody:
    """All of the body, whatever the scores: the mask is what stands for the body (`engines.prepare_truth`)."""

    def __call__(self, score: Tensor, body: Tensor) -> Tensor:
        return body


class PeakArea:
    """Pixels of the body that score above a share of the image's best, the scores enlarged bilinearly (ours).

    A small finding gives a small mask and a large one a large mask. Where nothing scores above zero the mask is empty.

    Args:
        share: of the highest score within the body, in (0, 1).
        largest: share of the body's pixels that a mask covers at most; None: no limit. A flat map has all of the image
            near its peak, and says nothing about where. Measured on 4 x 4 places a cell: ordering those of an image is
            free, where ordering its 65,536 pixels is not.
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
            threshold = threshold.maximum(_limit(score, body, self.largest))
        return (inside > threshold) & body


def _limit(score: Tensor, body: Tensor, largest: float) -> Tensor:
    """The score above which no more than a share of the body lies: `[B, 1, 1, 1]`."""
    each = min(_PLACES, body.shape[-1] // score.shape[-1])
    fine = F.interpolate(score[:, None], scale_factor=each, mode="bilinear", align_corners=False)[:, 0]
    weight = pixels_in_cells(fine, body)
    ordered, order = fine.flatten(1).sort(dim=1, descending=True)
    fitting = weight.gather(1, order).cumsum(1) <= largest * weight.sum(1, keepdim=True)
    first_left_out = fitting.sum(1, keepdim=True).clamp(max=ordered.shape[1] - 1)
    return ordered.gather(1, first_left_out)[..., None, None]
