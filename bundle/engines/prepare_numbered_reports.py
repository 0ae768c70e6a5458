"""Batches of images and reports for networks that must know which reports are equal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from .prepare_batch import PrepareReportBatch

__all__ = ["PrepareNumberedReports"]


class PrepareNumberedReports(PrepareReportBatch):
    """As `PrepareReportBatch`, with the numbers of the reports among the network's keyword arguments.

    Args:
        mean: as of `PrepareImages`.
        std: as of `PrepareImages`.
        augment: as of `PrepareReportBatch`.
        thin: as of `PrepareReportBatch`.
    """

    def __call__(
        self,
        batchdata: Mapping[str, Any],
        device: str | torch.device | None = None,
        non_blocking: bool = False,
        **kwargs: Any,
    ) -> tuple[Tensor, dict[str, Tensor], tuple, dict[str, Any]]:
        """Prepare a batch of `PackedDataset`.

        Returns:
            As `PrepareReportBatch`; the keyword arguments hold `text_id` `[B]`, too.
        """
        image, target, positional, text = super().__call__(batchdata, device, non_blocking, **kwargs)
        return image, target, positional, text | {"text_id": target["text_id"]}
