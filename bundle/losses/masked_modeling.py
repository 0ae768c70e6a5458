"""Losses of masked modelling: words named, and patches painted."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["MaskedImageLoss", "MaskedLanguageLoss"]

_UNJUDGED = -100  # label of a position that has no say


class MaskedLanguageLoss(nn.Module):
    """Mean cross-entropy over all masked words of a batch, however many each report has.

    While gradients are recorded, the mean is over the words of all processes: each returns its sum times the number of
    processes, divided by the count of all, so that the averages that DDP and the logs take are exact. In evaluation
    shards may be uneven, so each process takes its own mean.

    Reference: M3AE (arXiv 2209.07098), section 2.2.
    """

    def forward(self, prediction: Mapping[str, Tensor], target: Mapping[str, Tensor] | None = None) -> Tensor:
        """Compute the loss in fp32.

        Args:
            prediction: holds `mlm_logits` `[B, M, V]` and `mlm_labels`, int64 `[B, M]`, -100 where nothing is judged.
            target: not read.

        Returns:
            Scalar; ln V for equal logits, 0, with gradients 0, where nothing is judged.
        """
        logits, labels = prediction["mlm_logits"].float(), prediction["mlm_labels"]
        total = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=_UNJUDGED, reduction="sum")
        return _mean_of_all(total, (labels != _UNJUDGED).sum())


class MaskedImageLoss(nn.Module):
    """Mean squared error over the pixels of removed patches; the mean of all processes as in `MaskedLanguageLoss`.

    Reference: M3AE (arXiv 2209.07098), section 2.2; MAE (arXiv 2111.06377).
    """

    def forward(self, prediction: Mapping[str, Tensor], target: Mapping[str, Tensor] | None = None) -> Tensor:
        """Compute the loss in fp32.

        Args:
            prediction: holds `mim_prediction` and `mim_target` `[B, N, P]`, and `mim_mask` `[B, N]`, 1 for a removed
                patch and 0 for one that was seen.
            target: not read.

        Returns:
            Scalar; near 1 for a prediction of 0, since targets are normalised.
        """
        error = (prediction["mim_prediction"].float() - prediction["mim_target"].float()).square().mean(-1)
        mask = prediction["mim_mask"].float()
        return _mean_of_all((mask * error).sum(), mask.sum())


def _mean_of_all(total: Tensor, count: Tensor) -> Tensor:
    """Sum over count of all processes, times their number; in evaluation those of the own process."""
    processes = 1
    if torch.is_grad_enabled() and dist.is_available() and dist.is_initialized():
        dist.all_reduce(count)
        processes = dist.get_world_size()
    return processes * total / count.clamp(min=1)
