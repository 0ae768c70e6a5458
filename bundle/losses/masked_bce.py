"""Binary cross-entropy over the labels that are known."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["MaskedBCE"]


class MaskedBCE(nn.Module):
    """Mean of the binary cross-entropy over all known labels of a batch; missing and uncertain ones have no say.

    While gradients are recorded, the mean is over the known labels of all processes, however these are shared out: each
    process returns its sum times the number of processes, divided by the count of all, so that the averages that DDP
    and the logs take are exact. In evaluation shards may be uneven, so each process takes its own mean.

    Example:
        >>> label = torch.tensor([[1.0, math.nan], [math.nan, 0.0]])
        >>> MaskedBCE()(torch.zeros(2, 2), {"label": label})
        tensor(0.6931)
    """

    def forward(self, prediction: Tensor, target: Mapping[str, Tensor]) -> Tensor:
        """Compute the loss in fp32.

        Args:
            prediction: logits `[B, K]`.
            target: holds `label` `[B, K]`: 0, 1, or nan where unknown; a value between is a probability.

        Returns:
            Scalar; 0, with gradients 0, where nothing is known.
        """
        label = target["label"].float()
        known = ~label.isnan()
        terms = F.binary_cross_entropy_with_logits(prediction.float(), label.nan_to_num(0), reduction="none")
        count, processes = known.sum(), 1
        if torch.is_grad_enabled() and dist.is_available() and dist.is_initialized():
            dist.all_reduce(count)
            processes = dist.get_world_size()
        return processes * (terms * known).sum() / count.clamp(min=1)
