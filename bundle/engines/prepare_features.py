"""From a batch of cached features to the input of a linear probe and its target."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from monai.engines import PrepareBatch
from torch import Tensor

__all__ = ["PrepareFeatureBatch"]


class PrepareFeatureBatch(PrepareBatch):
    """Move features and labels to the device, as they are.

    Example:
        >>> features, target = PrepareFeatureBatch()(batch, "cuda")  # doctest: +SKIP
    """

    def __call__(
        self,
        batchdata: Mapping[str, Tensor],
        device: str | torch.device | None = None,
        non_blocking: bool = False,
        **kwargs: object,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Prepare a batch of `FeatureCache`.

        Args:
            batchdata: `image` `[B, C]`, features of images; `label` `[B, K]` or `[B]`; `index` `[B]`.
            device: where to.
            non_blocking: as for `Tensor.to`.
            kwargs: not used.

        Returns:
            The features `[B, C]`, float32, and the target: `label`, `[B, K]` float32 or `[B]` int64, and `index` `[B]`
            int64.
        """
        image, label, index = (
            batchdata[name].to(device, non_blocking=non_blocking) for name in ("image", "label", "index")
        )
        return image, {"label": label, "index": index}
