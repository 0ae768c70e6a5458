"""How well the decoder reproduces the pseudo masks it is trained on."""

from __future__ import annotations

from typing import ClassVar

from monai.metrics import compute_dice
from torch import Tensor

from .decoder_masks import DecoderMasks

__all__ = ["MaskOverlap"]


class MaskOverlap(DecoderMasks):
    """Dice between decoder and pseudo mask, and the share of the image that each covers, all in [0, 1].

    Two empty masks agree (Dice 1).
    """

    names: ClassVar[tuple[str, ...]] = ("decoder_mask_dice", "decoder_mask_share", "pseudo_mask_share")

    def compare(self, decoded: Tensor, pseudo: Tensor, index: Tensor) -> list[Tensor]:
        """As `DecoderMasks.compare`."""
        dice = compute_dice(decoded, pseudo, include_background=True, ignore_empty=False)
        return [dice[:, 0], decoded.mean((1, 2, 3)), pseudo.mean((1, 2, 3))]
