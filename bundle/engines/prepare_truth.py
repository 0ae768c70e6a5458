"""Batches with true masks where body masks would be: for ablations that ask what a perfect pseudo mask is worth."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from .prepare_batch import PrepareReportBatch
from .prepare_images import Device

__all__ = ["PrepareTruth"]


class PrepareTruth(PrepareReportBatch):
    """As `PrepareReportBatch`, but `body` is where the truth marks anything.

    All that warps an image warps its body, so the pseudo mask can be the truth itself: `WholeBody` for an area. No
    method, but the ceiling of one.

    Args:
        truth: bool `[N, 1, S, S]` of the split, by the rows' numbers, as `stored_masks` reads it.
        options: as of `PrepareReportBatch`.
    """

    def __init__(self, truth: Tensor, **options: Any) -> None:
        super().__init__(**options)
        self.truth = truth

    def __call__(
        self, batchdata: Mapping[str, Any], device: Device = None, non_blocking: bool = False, **kwargs: Any
    ) -> tuple[Tensor, dict[str, Tensor], tuple, dict[str, Any]]:
        """As of `PrepareReportBatch`."""
        batch = {**batchdata, "body": self.truth[batchdata["index"]]}
        return super().__call__(batch, device, non_blocking, **kwargs)
