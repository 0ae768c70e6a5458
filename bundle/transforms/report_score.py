"""Scores of image cells by what their own report says: sources of a pseudo mask that the text conditions (ours)."""

from __future__ import annotations

from typing import cast

import ignite.distributed as idist
import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["ContributionScore", "SimilarityScore"]

Tensors = dict[str, Tensor]


class ContributionScore:
    """What each cell adds to the score of its image with its own report, beyond the batch's mean report.

    The score of a pair is the product of two embeddings, and the image's is a sum over cells: attention times the
    cell's vector. So it falls apart into cells, exactly with pooling that does not project values and up to what places
    add. What all reports say, such as that bones are intact, is in the mean report and does not count.

    Published masks are of attention alone, which no report conditions; the paper names that as its limitation.
    """

    def __call__(self, prediction: Tensors) -> Tensor:
        """Score the cells `[B, h, w]`.

        Args:
            prediction: `attention` `[B, heads, h, w]`, `patch_values` `[B, D, h, w]` and `text_embedding` `[B, D]`.
        """
        along = torch.einsum("bdhw,bd->bhw", prediction["patch_values"].detach().float(), _own_words(prediction))
        return prediction["attention"].detach().float().mean(1) * along


class SimilarityScore:
    """Cosine of each cell with what its own report says beyond the batch's mean report; attention does not count."""

    def __call__(self, prediction: Tensors) -> Tensor:
        """Map `patch_values` `[B, D, h, w]` and `text_embedding` `[B, D]` to `[B, h, w]`."""
        cells = F.normalize(prediction["patch_values"].detach().float(), dim=1)
        return torch.einsum("bdhw,bd->bhw", cells, F.normalize(_own_words(prediction), dim=-1))


def _own_words(prediction: Tensors) -> Tensor:
    """A report's embedding less the mean of its batch: `[B, D]`.

    While gradients are recorded the batch is that of all processes, so their masks are those of one process on the
    joined batch. In evaluation shards may be uneven, so each takes its own mean.
    """
    text = prediction["text_embedding"].detach().float()
    mean = text.mean(0)
    if torch.is_grad_enabled():
        mean = cast(Tensor, idist.all_reduce(mean)) / idist.get_world_size()
    return text - mean
