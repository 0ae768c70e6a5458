"""From a batch of the packed store to what M3AE reads: images, reports, and the reports with masked words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from .prepare_batch import PrepareReportBatch, Thin
from .prepare_images import Augment, Device

__all__ = ["PrepareMaskedBatch", "PrepareMaskedText"]

Mask = Callable[[Tensor, Tensor], dict[str, Tensor]]


class PrepareMaskedBatch(PrepareReportBatch):
    """As `PrepareReportBatch`, and words are masked, on the host, where the reports are.

    Args:
        mean: as of `PrepareImages`.
        std: as of `PrepareImages`.
        mask: maps `input_ids` and `attention_mask` `[B, L]` to `masked_ids`, `masked_positions` and `masked_labels`, as
            `MaskTokens`.
        augment: as of `PrepareReportBatch`; none that mirrors, since reports name sides.
        thin: as of `PrepareReportBatch`.

    Example:
        >>> prepare = PrepareMaskedBatch(0.449, 0.226, MaskTokens("stores/phantoms/tokenizer"))  # doctest: +SKIP
    """

    def __init__(
        self, mean: float, std: float, mask: Mask, augment: Augment | None = None, thin: Thin | None = None
    ) -> None:
        super().__init__(mean, std, augment, thin)
        self.mask = mask

    def words(self, batchdata: Mapping[str, Any]) -> dict[str, Any]:
        """As of `PrepareReportBatch`, with what `mask` gives, and `text_id` `[B]`, equal for equal texts."""
        words = super().words(batchdata)
        longest = max(words["lengths"])  # thinned reports are wider than any of them is long
        masked = self.mask(words["input_ids"][:, :longest], words["attention_mask"][:, :longest])
        return words | masked | {"text_id": batchdata["text_id"]}


class PrepareMaskedText(PrepareMaskedBatch):
    """Show a black image in place of each: the control that names masked words by the text alone."""

    def unit_image(self, batchdata: Mapping[str, Any], device: Device, non_blocking: bool) -> Tensor:
        """Black images `[B, 1, S, S]`, float32."""
        return torch.zeros_like(super().unit_image(batchdata, device, non_blocking))
