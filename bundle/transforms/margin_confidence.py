"""How far a pixel's score lies from where the pseudo mask ends: what its confidence may be taken from."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional as F

from bundle.transforms.moved import moved

__all__ = ["MarginConfidence"]

Tensors = dict[str, Tensor]


class MarginConfidence:
    """Distrust pixels whose score is near the threshold of the mask (ours).

    With scores as shares of the image's peak, and a mask of those above `share`, confidence rises linearly from 0 at
    the threshold to 1 at `margin` to either side: what clearly belongs to the finding and what clearly does not is
    learned, and the seam, where a coarse map says least, is left to the decoder. Images whose masks are empty by `kept`
    are trusted everywhere.

    Args:
        source: maps the prediction to scores `[B, h, w]`, as of the `PseudoMask` that it judges; likewise the others.
        kept: maps the target to bool `[B]`; None: all masks are drawn.
        share: of the highest score, as of `PeakArea`.
        margin: in shares of the highest score.
        offset: of the cells, in px.
    """

    def __init__(
        self,
        source: Callable[[Tensors], Tensor],
        kept: Callable[[Tensors], Tensor] | None = None,
        share: float = 0.1,
        margin: float = 0.1,
        offset: int = 0,
    ) -> None:
        self.source = source
        self.kept = kept
        self.share = share
        self.margin = margin
        self.offset = offset

    def __call__(self, prediction: Tensors, target: Tensors) -> Tensor:
        """Weigh the pixels: `[B, 1, H, W]`, fp32 in [0, 1]."""
        score = self.source(prediction).float()[:, None]
        fine = F.interpolate(score, size=target["image"].shape[-2:], mode="bilinear", align_corners=False)
        peak = fine.amax((2, 3), keepdim=True).clamp_min(1e-12)
        weight = moved(((fine / peak - self.share).abs() / self.margin).clamp_max(1), self.offset)
        if self.kept is None:
            return weight
        return weight.where(self.kept(target)[:, None, None, None], 1.0)
