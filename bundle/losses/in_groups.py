"""A loss that sees one part of the batch at a time."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["InGroups"]


class InGroups(nn.Module):
    """Mean of a loss over groups of the batch: what as many processes compute that keep their pairs to themselves.

    So one process can ask what gathered negatives are worth: `InGroups(ContrastiveLoss(), 8)` on a batch of 512 is what
    eight processes of 64 pairs have without gathering. Every eighth pair makes a group, since batches come ordered by
    the length of their reports.

    Args:
        loss: maps (prediction, target) to a scalar.
        groups: their number; where it does not divide the batch, some have a pair more than others.

    Example:
        >>> same = torch.ones(8, 1)
        >>> InGroups(ContrastiveLoss(), groups=2)({"image_embedding": same, "text_embedding": same}, {})  # ln 4
        tensor(1.3863)
    """

    def __init__(self, loss: nn.Module, groups: int) -> None:
        super().__init__()
        self.loss = loss
        self.groups = groups

    def forward(self, prediction: dict[str, Tensor], target: dict[str, Tensor]) -> Tensor:
        """Compute the loss of each group and return their mean, a scalar.

        Args:
            prediction: holds `image_embedding` `[B, D]`; entries with `B` rows are divided, others given to all groups.
            target: likewise.
        """
        size = len(prediction["image_embedding"])
        groups = min(self.groups, size)
        parts = [slice(first, None, groups) for first in range(groups)]
        losses = [self.loss(_rows(prediction, part, size), _rows(target, part, size)) for part in parts]
        return torch.stack(losses).mean()


def _rows(entries: dict[str, Tensor], rows: slice, size: int) -> dict[str, Tensor]:
    return {name: x[rows] if x.ndim and len(x) == size else x for name, x in entries.items()}
