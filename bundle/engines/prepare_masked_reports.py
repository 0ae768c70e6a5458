"""From a batch of reports alone to what a masked language model reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from monai.engines import PrepareBatch
from torch import Tensor

from .prepare_images import Device, plain
from .prepare_masked import Mask

__all__ = ["PrepareMaskedReports"]


class PrepareMaskedReports(PrepareBatch):
    """Mask words, on the host, and move a batch of `ReportTexts` to the device; nothing waits for it.

    Args:
        mask: as of `PrepareMaskedBatch`.
    """

    def __init__(self, mask: Mask) -> None:
        self.mask = mask

    def __call__(
        self, batchdata: Mapping[str, Any], device: Device = None, non_blocking: bool = False, **kwargs: Any
    ) -> tuple[Tensor, dict[str, Tensor], tuple, dict[str, Any]]:
        """Prepare a batch.

        Args:
            batchdata: `input_ids` and `attention_mask` `[B, L]`, `lengths`, `index` `[B]`.
            device: where to.
            non_blocking: as for `Tensor.to`.
            kwargs: not used.

        Returns:
            The texts with masked words `[B, L]`; the target, `index`; no positional and four keyword arguments of the
            network.
        """
        attention = batchdata["attention_mask"]
        masked = self.mask(batchdata["input_ids"], attention) | {"attention_mask": attention}
        moved = {name: plain(value, device, non_blocking) for name, value in masked.items()}
        target = {"index": plain(batchdata["index"], device, non_blocking)}
        return moved.pop("masked_ids"), target, (), moved | {"lengths": batchdata["lengths"]}
