"""Image-report contrastive loss (InfoNCE), its negatives gathered from all processes with their gradients."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["ContrastiveLoss", "all_gather"]


class _AllGather(torch.autograd.Function):
    """Rows of all ranks; the backward pass returns to each rank the gradient that all ranks have for its rows."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        ctx.count = rows.shape[0]
        parts = [torch.empty_like(rows) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        grad = grads[0].contiguous()
        dist.all_reduce(grad)
        return grad.narrow(0, dist.get_rank() * ctx.count, ctx.count)


def all_gather(rows: Tensor) -> Tensor:
    """Concatenate the rows of all processes in rank order, differentiably.

    Args:
        rows: `[B, ...]`, the same shape on every rank.

    Returns:
        `[W * B, ...]` for `W` processes; `rows` itself for one process.
    """
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return rows
    return _AllGather.apply(rows)


class ContrastiveLoss(nn.Module):
    """Cross-entropy of each image against all reports and of each report against all images.

    Each process scores its own rows against the rows of all processes; since DDP averages gradients over processes, the
    gradient is that of one process on the joined batch. Gathering takes place only while gradients are recorded: in
    evaluation shards may be uneven, so each process compares within its own batch.

    Args:
        temperature: fixed divisor of the cosine similarities (0.07 in the paper); None: they are multiplied with the
            `logit_scale` of the prediction, which the network learns.
        image_to_text: weight of the image-to-report direction: each image picks its report.
        text_to_image: weight of the report-to-image direction: each report picks its image. G2D's equation 1 is image
            to report only (1, 0); its released code sums both (1, 1); the mean (1/2, 1/2) is the default, the symmetric
            loss of CLIP. Adaptor's code has (1/4, 3/4).
        gather: take negatives from all processes instead of the own batch alone.
        exclude_same: name of an entry of the target, such as `study_id` or `text_id`, integers `[B]`; other pairs with
            the same number (several radiographs with one report) are no negatives.

    Reference: G2D (arXiv 2312.01522), section 3.1, equation 1; for a learned temperature CLIP (arXiv 2103.00020).
    """

    def __init__(
        self,
        temperature: float | None = 0.07,
        image_to_text: float = 0.5,
        text_to_image: float = 0.5,
        gather: bool = True,
        exclude_same: str | None = None,
    ) -> None:
        super().__init__()
        self.temperature = temperature
        self.image_to_text = image_to_text
        self.text_to_image = text_to_image
        self.gather = gather
        self.exclude_same = exclude_same

    def forward(self, prediction: dict[str, Tensor], target: dict[str, Tensor] | None = None) -> Tensor:
        """Compute the loss in fp32.

        Args:
            prediction: holds `image_embedding` and `text_embedding`, both `[B, D]` with rows of length 1; without fixed
                temperature also `logit_scale`, a positive scalar.
            target: holds `[B]` integers under the name `exclude_same`; not read otherwise.

        Returns:
            Scalar; `ln(W * B)` for each direction when all embeddings are equal.

        Raises:
            KeyError: if the prediction or the target lacks an entry that the loss was told to read.
        """
        image, text = prediction["image_embedding"].float(), prediction["text_embedding"].float()
        gather = self.gather and torch.is_grad_enabled()
        all_image, all_text = (all_gather(image), all_gather(text)) if gather else (image, text)
        start = dist.get_rank() * len(image) if len(all_image) > len(image) else 0
        positives = torch.arange(start, start + len(image), device=image.device)
        excluded = self._excluded(target, positives, gather)
        temperature = self._temperature(prediction)
        loss = image.new_zeros(())
        for weight, rows, columns in (
            (self.image_to_text, image, all_text),
            (self.text_to_image, text, all_image),
        ):
            if weight:
                logits = rows @ columns.T / temperature
                if excluded is not None:
                    logits = logits.masked_fill(excluded, float("-inf"))
                loss = loss + weight * F.cross_entropy(logits, positives)
        return loss

    def _temperature(self, prediction: dict[str, Tensor]) -> Tensor | float:
        """Divisor of the cosine similarities."""
        if self.temperature is not None:
            return self.temperature
        if "logit_scale" not in prediction:
            raise KeyError(
                "the contrastive loss has no temperature of its own, and the network gives no `logit_scale`; give "
                "`temperature` a number"
            )
        return 1 / prediction["logit_scale"].float()

    def _excluded(self, target: dict[str, Tensor] | None, positives: Tensor, gather: bool) -> Tensor | None:
        """Pairs `[B, W * B]` that are neither positives nor negatives."""
        if self.exclude_same is None:
            return None
        if target is None or self.exclude_same not in target:
            raise KeyError(
                f"the contrastive loss was told to exclude equal '{self.exclude_same}', which is not in the target"
            )
        own = target[self.exclude_same]
        every = all_gather(own) if gather else own
        same = own[:, None] == every[None, :]
        return same.scatter(1, positives[:, None], False)
