"""Scores of pixels: where the report's words look, and what the decoder takes for foreground there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor
from torch.nn import functional as F

from bundle.transforms.moved import moved

__all__ = ["RefinedScore"]


class RefinedScore:
    """The score of another source, enlarged to pixels, times the decoder's probability of foreground.

    A decoder that has just begun calls every pixel alike, and the product is the source. What it learns from all images
    together, such as where edges lie, then sharpens the masks of each. The source keeps it from wandering: pixels that
    nothing in the report speaks for have a score of 0.

    Args:
        source: maps the prediction to scores `[B, h, w]`; those below 0 count as 0.
        offset: how far in px its cells look down and right of the middle of their blocks, as of `PseudoMask`, whose own
            is 0 with this source: pixels of the decoder are where they are.
    """

    def __init__(self, source: Callable[[Mapping[str, Any]], Tensor], offset: int = 0) -> None:
        self.source = source
        self.offset = offset

    def __call__(self, prediction: Mapping[str, Any]) -> Tensor:
        """Score the pixels `[B, H, W]`, fp32, by `logits` `[B, 1, H, W]` and what the source reads."""
        foreground = prediction["logits"].detach().float().sigmoid()[:, 0]
        coarse = self.source(prediction).float().clamp_min(0)
        fine = F.interpolate(coarse[:, None], size=foreground.shape[-2:], mode="bilinear", align_corners=False)[:, 0]
        return moved(fine, self.offset) * foreground
