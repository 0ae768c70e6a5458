"""Image-text retrieval in both directions, with texts that several images share.

Protocol: every image searches the distinct texts, every distinct text searches the images. A query is a hit at K if
any item that belongs to it is among the first K. Items of equal similarity are placed by their number in the data set,
so that a network whose embeddings have collapsed scores at chance and not at the top.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from monai.metrics import Cumulative
from torch import Tensor

from .retrieval_pairs import Pairs
from .samples import Samples, first_of_each, value_of

__all__ = [
    "Figures",
    "Queries",
    "RetrievalMetric",
    "chance_recall",
    "first_hit_ranks",
    "recall_figures",
    "retrieval_ranks",
    "score_ranks",
    "search",
]

Figures = dict[str, float | Samples]
"""Metrics by name: those that are means as what they are means of."""


def first_hit_ranks(
    query: Tensor, gallery: Tensor, query_group: Tensor, gallery_group: Tensor, chunk: int = 256
) -> Tensor:
    """Place of the best item that belongs to each query, among all items of the gallery by falling similarity.

    Equal similarities are placed by position in the gallery. A similarity that is not finite counts as the lowest.

    Args:
        query: `[Q, d]` embeddings; the similarity is their dot product with the gallery.
        gallery: `[P, d]` embeddings.
        query_group: `[Q]` int64; a gallery item belongs to the queries of its group.
        gallery_group: `[P]` int64.
        chunk: queries compared at a time; memory is of the order of `chunk * P` floats.

    Returns:
        Ranks `[Q]` int64 from 1; P + 1 for a query to which nothing belongs.
    """
    columns = gallery.float().T
    blocks = zip(query.float().split(chunk), query_group.split(chunk), strict=True)
    return torch.cat([_places(rows @ columns, group, gallery_group) for rows, group in blocks])


def score_ranks(scores: Tensor, query_group: Tensor, gallery_group: Tensor, chunk: int = 256) -> Tensor:
    """As `first_hit_ranks`, where all similarities are known.

    Args:
        scores: `[Q, P]`, similarity of each query to each item of the gallery.
        query_group: `[Q]` int64; a gallery item belongs to the queries of its group.
        gallery_group: `[P]` int64.
        chunk: queries looked at a time.

    Returns:
        Ranks `[Q]` int64 from 1; P + 1 for a query to which nothing belongs.

    Example:
        >>> score_ranks(torch.tensor([[0.9, 0.1, 0.5], [0.2, 0.2, 0.2]]), torch.tensor([2, 1]), torch.arange(3))
        tensor([2, 2])
    """
    blocks = zip(scores.float().split(chunk), query_group.split(chunk), strict=True)
    return torch.cat([_places(rows, group, gallery_group) for rows, group in blocks])


def _places(scores: Tensor, query_group: Tensor, gallery_group: Tensor) -> Tensor:
    """Ranks `[Q]` by scores `[Q, P]`."""
    count = scores.shape[1]
    position = torch.arange(count, device=scores.device)
    scores = torch.where(scores.isfinite(), scores, torch.finfo(torch.float32).min)
    # The own score is read from the same scores: computed another way it could differ in the last bit, and a collapsed
    # embedding would win every comparison.
    own = scores.masked_fill(query_group[:, None] != gallery_group, -torch.inf)
    best = own.amax(1, keepdim=True)
    place = torch.where(own == best, position, count).amin(1, keepdim=True)
    ahead = (scores > best) | ((scores == best) & (position < place))
    return ahead.sum(1) + 1


def retrieval_ranks(image: Tensor, text: Tensor, text_id: Tensor, chunk: int = 256) -> tuple[Tensor, Tensor]:
    """Ranks of N pairs in both directions; a text that several images share is one text.

    Args:
        image: `[N, d]` image embeddings, L2-normalised for cosine similarity, in the order of the data set.
        text: `[N, d]` text embeddings; of equal texts the first embedding stands for all.
        text_id: `[N]` int64, equal for equal texts.
        chunk: queries compared at a time.

    Returns:
        `image_to_text` `[N]`: for each image the rank of its text among the M distinct texts;
        `text_to_image` `[M]`: for each distinct text, in order of first occurrence, the rank of its best image among N.
    """
    first = first_of_each(text_id)
    texts, texts_id = text[first], text_id[first]
    image_to_text = first_hit_ranks(image, texts, text_id, texts_id, chunk)
    text_to_image = first_hit_ranks(texts, image, texts_id, text_id, chunk)
    return image_to_text, text_to_image


def chance_recall(relevant: Tensor, pool: int, k: int) -> float:
    """Expected share of hits at K when the gallery is ordered at random.

    A query with n items of its own among P is missed with probability C(P - n, K) / C(P, K).

    Args:
        relevant: `[Q]` number n of gallery items that belong to each query.
        pool: number P of gallery items.
        k: how many places count.

    Returns:
        Mean over the queries, in [0, 1].

    Example:
        >>> chance_recall(torch.tensor([1, 1]), pool=10, k=5)
        0.5
    """
    others = pool - relevant.cpu().double()
    missed = torch.ones_like(others)
    for place in range(min(k, pool)):
        missed *= ((others - place) / (pool - place)).clamp(min=0)
    return float(1 - missed.mean())


@dataclass(frozen=True)
class Queries:
    """Everything about one direction.

    Attributes:
        ranks: `[Q]` int64 from 1, the place of the best own item of each query.
        index: `[Q]` int64, number in the data set of the item that each query is of.
        relevant: `[Q]` int64, number of own items of each query in the gallery.
        pool: items of the gallery.
    """

    ranks: Tensor
    index: Tensor
    relevant: Tensor
    pool: int

    def chance(self, k: int) -> float:
        """Recall at K in a random order."""
        return chance_recall(self.relevant, self.pool, k)


def search(pairs: Pairs) -> dict[str, Queries]:
    """Search in both directions: `image_to_text`, where every image is a query, and `text_to_image`, every text."""
    image_to_text, text_to_image = retrieval_ranks(pairs.image, pairs.text, pairs.text_id)
    first = first_of_each(pairs.text_id)
    _, distinct, count = pairs.text_id.unique(return_inverse=True, return_counts=True)
    sharing = count[distinct[first]]
    return {
        "image_to_text": Queries(image_to_text, pairs.index, torch.ones_like(pairs.index), len(first)),
        "text_to_image": Queries(text_to_image, pairs.index[first], sharing, len(pairs.index)),
    }


def recall_figures(found: Mapping[str, Queries], ks: Sequence[int]) -> Figures:
    """Recall at K, its ratio to chance, median rank and number of items searched, of both directions.

    A text that several images share belongs to the first of them.
    """
    result: Figures = {}
    for name, queries in found.items():
        index = queries.index.cpu()
        for k in ks:
            hits = (queries.ranks <= k).double().cpu()
            result[f"retrieval_r{k}_{name}"] = Samples(hits, index)
            result[f"retrieval_r{k}_{name}_over_chance"] = Samples(hits / queries.chance(k), index)
        result[f"retrieval_median_rank_{name}"] = float(queries.ranks.double().quantile(0.5))
        result[f"retrieval_pool_{name}"] = float(queries.pool)
    return result


class RetrievalMetric(Cumulative):
    """Recall at K and median rank in both directions, over all batches and all processes.

    The result does not depend on the order in which the pairs arrive; a pair that arrives twice (a padded shard) counts
    once.

    Args:
        ks: the places K of recall at K.

    Example:
        >>> metric = RetrievalMetric()
        >>> eye, number = torch.eye(3), torch.arange(3)
        >>> metric({"image_embedding": eye, "text_embedding": eye}, {"text_id": number, "index": number})
        >>> metric.aggregate()["retrieval_r1_image_to_text"]
        1.0
    """

    def __init__(self, ks: Sequence[int] = (1, 5, 10)) -> None:
        super().__init__()
        self.ks = tuple(ks)
        self._figures: Figures = {}

    def __call__(self, prediction: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> None:
        """Add a batch.

        Args:
            prediction: `image_embedding` and `text_embedding` `[B, d]`, L2-normalised.
            target: `text_id` `[B]` int64, equal for equal texts; `index` `[B]` int64, number in the data set.
        """
        image, text = (prediction[name].detach().float() for name in ("image_embedding", "text_embedding"))
        self.extend(image, text, target["text_id"], target["index"])

    def aggregate(self) -> dict[str, float]:
        """Compute the metrics of all pairs added.

        Returns:
            For both directions D in `image_to_text`, `text_to_image` and each K: `retrieval_rK_D` in [0, 1],
            `retrieval_rK_D_over_chance` (its ratio to `chance_recall`), `retrieval_median_rank_D` and
            `retrieval_pool_D`, the number of items searched.

        Raises:
            ValueError: when no pair was added.
        """
        self._figures = self.measure(self._gathered())
        return {name: one if isinstance(one, float) else value_of(one) for name, one in self._figures.items()}

    def measure(self, pairs: Pairs) -> Figures:
        """The metrics of pairs."""
        return recall_figures(search(pairs), self.ks)

    def samples(self) -> dict[str, Samples]:
        """What the means of the latest `aggregate` were taken over, one value a query."""
        return {name: one for name, one in self._figures.items() if isinstance(one, Samples)}

    def _gathered(self) -> Pairs:
        buffers = self.get_buffer()
        if buffers is None:
            raise ValueError(
                "retrieval was asked for before any pair was added; check that the validation list has items"
            )
        return Pairs(*buffers).in_order()
