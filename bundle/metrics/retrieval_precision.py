"""Retrieval by relevance groups: how many of the first K items are of the query's own group, as in 5x200."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from .retrieval import Figures
from .retrieval_pairs import Pairs
from .samples import Samples, first_of_each

__all__ = ["precision_figures", "relevant_in_top"]


def relevant_in_top(
    query: Tensor, gallery: Tensor, query_groups: Tensor, gallery_groups: Tensor, ks: Sequence[int], chunk: int = 256
) -> Tensor:
    """Count the relevant items among the first K of the gallery by falling similarity.

    Equal similarities are placed by position in the gallery. A similarity that is not finite counts as the lowest.

    Args:
        query: `[Q, d]` embeddings; the similarity is their dot product with the gallery.
        gallery: `[P, d]` embeddings.
        query_groups: `[Q, G]` bool, groups of each query; an item that shares a group with a query is relevant to it.
        gallery_groups: `[P, G]` bool.
        ks: the places K, each from 1 to P.
        chunk: queries compared at a time; memory is of the order of `chunk * P` floats.

    Returns:
        `[Q, len(ks)]` int64.

    Example:
        >>> query, gallery = torch.tensor([[1.0, 0.9, 0.8]]), torch.eye(3)
        >>> groups = torch.tensor([[True, False], [False, True], [True, False]])
        >>> relevant_in_top(query, gallery, groups[:1], groups, ks=[1, 2, 3])
        tensor([[1, 1, 2]])
    """
    columns, members = gallery.float().T, gallery_groups.float().T
    lowest = torch.finfo(torch.float32).min
    last = torch.tensor(ks, device=query.device) - 1
    counts = []
    for rows, groups in zip(query.float().split(chunk), query_groups.float().split(chunk), strict=True):
        scores = rows @ columns
        order = torch.where(scores.isfinite(), scores, lowest).argsort(dim=1, descending=True, stable=True)
        relevant = (groups @ members > 0).long()
        counts.append(relevant.gather(1, order).cumsum(1)[:, last])
    return torch.cat(counts)


@dataclass(frozen=True)
class _Side:
    """What takes part on one side, images or distinct texts: embeddings `[N, d]`, groups `[N, G]` bool, index `[N]`."""

    embedding: Tensor
    groups: Tensor
    index: Tensor


def precision_figures(pairs: Pairs, groups: Tensor, ks: Sequence[int]) -> Figures:
    """Precision at K by relevance group in both directions, with the chance level.

    Only pairs with a group take part, as queries and in the galleries. A text that several images share is one text and
    of the groups of all of them.

    Args:
        pairs: in the order of the data set.
        groups: `[N]` int64, the group of each item by its number in the data set, from 0; -1: it has none.
        ks: the places K; those beyond the size of a gallery are left out.

    Returns:
        For both directions D in `image_to_text`, `text_to_image`: `retrieval_pK_D` in [0, 1], `retrieval_pK_D_chance`,
        what a random order gives, `retrieval_pK_D_over_chance`, their ratio; and `retrieval_grouped_pool_D`, the number
        of items searched. Nothing where no pair has a group.

    Reference: the 5x200 protocol of GLoRIA (Huang et al., ICCV 2021), after ConVIRT (arXiv 2010.00747).
    """
    groups = groups.to(pairs.index.device)
    pairs = pairs.of(groups[pairs.index] >= 0)
    if not len(pairs.index):
        return {}
    members = F.one_hot(groups[pairs.index].unique(return_inverse=True)[1]).bool()
    images, texts = _Side(pairs.image, members, pairs.index), _distinct_texts(pairs, members)
    return {
        **_direction("image_to_text", images, texts, ks),
        **_direction("text_to_image", texts, images, ks),
    }


def _distinct_texts(pairs: Pairs, members: Tensor) -> _Side:
    """Each text once, as it occurs first, in the groups of all its images."""
    first = first_of_each(pairs.text_id)
    same = pairs.text_id[first][:, None] == pairs.text_id
    return _Side(pairs.text[first], same.float() @ members.float() > 0, pairs.index[first])


def _direction(name: str, queries: _Side, gallery: _Side, ks: Sequence[int]) -> Figures:
    pool = len(gallery.index)
    ks = [k for k in ks if k <= pool]
    counts = relevant_in_top(queries.embedding, gallery.embedding, queries.groups, gallery.groups, [*ks, pool])
    index, share = queries.index.cpu(), counts[:, -1].double().cpu() / pool
    chance = float(share.mean())
    result: Figures = {f"retrieval_grouped_pool_{name}": float(pool)}
    for column, k in enumerate(ks):
        precision = counts[:, column].double().cpu() / k
        result[f"retrieval_p{k}_{name}"] = Samples(precision, index)
        result[f"retrieval_p{k}_{name}_chance"] = Samples(share, index)
        result[f"retrieval_p{k}_{name}_over_chance"] = Samples(precision / chance, index)
    return result
