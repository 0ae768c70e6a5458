"""From a batch of cached features of pairs to an Adaptor's input, its target and its keyword arguments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from monai.engines import PrepareBatch
from torch import Tensor

__all__ = ["PreparePairFeatures"]


class PreparePairFeatures(PrepareBatch):
    """Move the features of pairs to the device, in half precision, and make them fp32 there.

    Example:
        >>> images, target, _, texts = PreparePairFeatures()(batch, "cuda")  # doctest: +SKIP
    """

    def __call__(
        self,
        batchdata: Mapping[str, Any],
        device: str | torch.device | None = None,
        non_blocking: bool = False,
        **kwargs: Any,
    ) -> tuple[Tensor, dict[str, Tensor], tuple, dict[str, Tensor]]:
        """Prepare a batch of `PairFeatures`.

        Args:
            batchdata: `image_features` `[B, T, C]`, `text_features` `[B, L, C]`, `text_mask` `[B, L]`, `text_id`,
                `study_id` and `index` `[B]`.
            device: where to.
            non_blocking: as for `Tensor.to`.
            kwargs: not used.

        Returns:
            The features of images `[B, T, C]`, fp32; the target: `index`, `text_id` and `study_id` `[B]`; no positional
            and three keyword arguments of the network: `text_features` `[B, L, C]`, fp32, `text_mask` `[B, L]` and
            `text_id` `[B]`.
        """

        def move(name: str) -> Tensor:
            return batchdata[name].to(device, non_blocking=non_blocking)

        target = {name: move(name) for name in ("index", "text_id", "study_id")}
        texts = {"text_features": move("text_features").float(), "text_mask": move("text_mask")}
        return move("image_features").float(), target, (), texts | {"text_id": target["text_id"]}
