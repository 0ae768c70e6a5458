"""Pairs of embeddings of all processes, and which of them are negatives: what contrastive losses have in common."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor

__all__ = ["GatheredPairs", "all_gather", "gather_pairs"]


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


class GatheredPairs(NamedTuple):
    """The own pairs and those that they are compared with.

    Attributes:
        image: own images, `[B, D]`, fp32.
        text: own reports, `[B, D]`, fp32.
        all_image: images of all processes, `[W * B, D]`.
        all_text: reports of all processes, `[W * B, D]`.
        positives: which of all is the own partner, int64 `[B]`.
        excluded: bool `[B, W * B]`, pairs that are neither positive nor negative; None: there are none.
    """

    image: Tensor
    text: Tensor
    all_image: Tensor
    all_text: Tensor
    positives: Tensor
    excluded: Tensor | None


def gather_pairs(
    prediction: dict[str, Tensor], target: dict[str, Tensor] | None, gather: bool, exclude_same: str | None
) -> GatheredPairs:
    """Gather the embeddings of all processes.

    That takes place only while gradients are recorded: in evaluation shards may be uneven, so each process compares
    within its own batch.

    Args:
        prediction: holds `image_embedding` and `text_embedding`, both `[B, D]`.
        target: holds `[B]` integers under the name `exclude_same`; not read otherwise.
        gather: take negatives from all processes instead of the own batch alone.
        exclude_same: name of an entry of the target; other pairs with the same number are no negatives.

    Raises:
        KeyError: if the prediction or the target lacks an entry that is to be read.
    """
    image, text = prediction["image_embedding"].float(), prediction["text_embedding"].float()
    everywhere = gather and torch.is_grad_enabled()
    all_image, all_text = (all_gather(image), all_gather(text)) if everywhere else (image, text)
    start = dist.get_rank() * len(image) if len(all_image) > len(image) else 0
    positives = torch.arange(start, start + len(image), device=image.device)
    excluded = None if exclude_same is None else _same(target, exclude_same, positives, everywhere)
    return GatheredPairs(image, text, all_image, all_text, positives, excluded)


def _same(target: dict[str, Tensor] | None, name: str, positives: Tensor, everywhere: bool) -> Tensor:
    """Pairs `[B, W * B]` of equal number, less each row's own."""
    if target is None or name not in target:
        raise KeyError(f"the contrastive loss was told to exclude equal '{name}', which is not in the target")
    own = target[name]
    every = all_gather(own) if everywhere else own
    return (own[:, None] == every[None, :]).scatter(1, positives[:, None], False)
