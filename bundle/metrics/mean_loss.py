"""The loss over a whole validation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from monai.metrics import Cumulative
from torch import Tensor, nn

from .samples import Samples

__all__ = ["MeanLoss"]


class MeanLoss(Cumulative):
    """Mean of a loss and of its named terms over validation batches, each weighing as many pairs as it has.

    A contrastive loss depends on the size of its batches: compare values of equal validation batch size only.

    Args:
        loss: maps prediction and target to a scalar; its attribute `last`, where there is one, holds its terms by name.
    """

    def __init__(self, loss: nn.Module) -> None:
        super().__init__()
        self.loss = loss
        self._names: list[str] = []

    def __call__(self, prediction: Mapping[str, Tensor], target: Mapping[str, Any]) -> None:
        """Add a batch; `target["index"]` or `target["label"]`, `[B, ...]`, tells its size."""
        with torch.no_grad():
            total = self.loss(prediction, target)
        terms = {"validation_loss": total} | {
            f"validation_{name}": value for name, value in getattr(self.loss, "last", {}).items()
        }
        self._names = list(terms)
        pairs = torch.full((1,), len(target["index" if "index" in target else "label"]), device=total.device)
        self.extend(torch.stack(list(terms.values()))[None], pairs)

    def aggregate(self) -> dict[str, float]:
        """Compute `validation_loss` and `validation_` with the name of each term.

        Raises:
            ValueError: when no batch was added.
        """
        buffers = self.get_buffer()
        if buffers is None:
            raise ValueError("the validation loss was asked for before any batch; check that the list has items")
        values, pairs = (buffer.double() for buffer in buffers)
        means = (values * pairs[:, None]).sum(0) / pairs.sum()
        return dict(zip(self._names, means.tolist(), strict=True))

    def samples(self) -> dict[str, Samples]:
        """Nothing: the loss of a batch is no mean over independent images."""
        return {}
