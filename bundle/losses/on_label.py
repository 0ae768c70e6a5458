"""Any loss of MONAI or PyTorch in the supervised stages."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

__all__ = ["OnLabel"]


class OnLabel(nn.Module):
    """Call a loss with the prediction in fp32 and the label alone.

    With several processes DDP averages gradients, so a loss that is a mean over images, or over classes and pixels of
    images of one size, equals that of the joined batch where every process has equally many: MONAI's `DiceLoss`,
    `DiceCELoss` and `DiceFocalLoss`, PyTorch's `BCEWithLogitsLoss` and, unweighted, `CrossEntropyLoss`. Dice over a
    whole batch (`batch=True`) and class weights do not: they are of each process.

    For several classes that may overlap MONAI's `DiceCELoss` is wrong even with `sigmoid=True`: from two channels on,
    its cross-entropy is a softmax over them. `DiceFocalLoss(sigmoid=True)` treats every channel alone.

    Args:
        loss: maps logits and label to a scalar.

    Example:
        >>> loss = OnLabel(monai.losses.DiceCELoss(sigmoid=True))
        >>> loss(torch.zeros(2, 1, 8, 8), {"label": torch.ones(2, 1, 8, 8, dtype=torch.bool)})
    """

    def __init__(self, loss: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, prediction: Tensor, target: Mapping[str, Tensor]) -> Tensor:
        """Compute the loss.

        Args:
            prediction: logits, `[B, K, H, W]` or `[B, K]`.
            target: holds `label`: masks `[B, K, H, W]` (bool) and indicators `[B, K]` go on as floats, class numbers
                `[B]` (int64) as they are.

        Returns:
            Scalar.
        """
        label = target["label"]
        return self.loss(prediction.float(), label if label.dtype == torch.int64 else label.float())
