"""One pseudo mask for each head of the attention, in the place of one for their mean."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

__all__ = ["MaskAHead"]

Tensors = dict[str, Tensor]


class MaskAHead:
    """Draw as many masks as the attention has heads; the decoder then needs as many outputs.

    Reference: G2D (arXiv 2312.01522), table 6d.

    Args:
        mask: draws the mask `[N, 1, H, W]` of `N` images from their attention, as `PseudoMask` over `AttentionScore`.

    Example:
        >>> masks = MaskAHead(PseudoMask(AttentionScore(), StoredBody(), QuantileArea()))
    """

    def __init__(self, mask: Callable[[Tensors, Tensors], Tensor]) -> None:
        self.mask = mask

    def __call__(self, prediction: Tensors, target: Tensors) -> Tensor:
        """Draw the masks.

        Args:
            prediction: holds `attention` `[B, heads, h, w]`.
            target: holds `body` `[B, 1, H, W]`, bool, and `image` `[B, 1, H, W]` in [0, 1].

        Returns:
            `[B, heads, H, W]`, fp32 in [0, 1], without gradient.
        """
        attention = prediction["attention"]
        batch, heads = attention.shape[:2]
        repeated = {name: target[name].repeat_interleave(heads, dim=0) for name in ("body", "image")}
        return self.mask({"attention": attention.flatten(0, 1)[:, None]}, repeated).view(
            batch, heads, *repeated["image"].shape[-2:]
        )
