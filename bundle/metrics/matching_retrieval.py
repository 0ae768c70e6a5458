"""Image-text retrieval where every image has been judged with every text, with its controls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from monai.metrics import Cumulative
from torch import Tensor

from .retrieval import Figures, Queries, recall_figures, score_ranks
from .samples import Samples, first_of_each, value_of

__all__ = ["MatchingRetrieval", "ScoredPairs"]

_UNCONTROLLED = ("_over_chance", "pool_image_to_text", "pool_text_to_image")  # ends of figures that have no controls


@dataclass(frozen=True)
class ScoredPairs:
    """N images, each judged with M distinct texts.

    Attributes:
        scores: `[N, M]` fp32.
        own: `[N]` int64, column of the text that belongs to each image; every column belongs to some image.
        index: `[N]` int64, number of each image in the data set.
    """

    scores: Tensor
    own: Tensor
    index: Tensor

    def shuffled(self, seed: int) -> ScoredPairs:
        """Images with the texts of others: one random order of the texts, the same on every device."""
        order = torch.randperm(len(self.own), generator=torch.Generator().manual_seed(seed)).to(self.own.device)
        return replace(self, own=self.own[order])

    def with_row(self, row: Tensor) -> ScoredPairs:
        """The scores `[M]` of one image in place of those of every other."""
        return replace(self, scores=row.to(self.scores).expand_as(self.scores))

    def search(self) -> dict[str, Queries]:
        """Search in both directions: `image_to_text`, where every image is a query, and `text_to_image`, every text."""
        images, texts = self.scores.shape
        columns = torch.arange(texts, device=self.own.device)
        position = torch.arange(images, device=self.own.device)
        first = torch.full_like(columns, images).scatter_reduce(0, self.own, position, "amin")
        image_to_text = score_ranks(self.scores, self.own, columns)
        text_to_image = score_ranks(self.scores.T, columns, self.own)
        return {
            "image_to_text": Queries(image_to_text, self.index, torch.ones_like(self.index), texts),
            "text_to_image": Queries(text_to_image, self.index[first], self.own.bincount(minlength=texts), images),
        }


class MatchingRetrieval(Cumulative):
    """Recall at K and median rank in both directions, beside what chance, shuffled texts and a blank image give.

    Names, and the placing of ties, are those of `RetrievalMetric` and `ControlledRetrieval`. The result does not depend
    on the order in which images arrive; one that arrives twice (a padded shard) counts once.

    Args:
        text_id: `[M]` int64, the number of the text of each column of scores, each once, in the order of the data set.
        ks: the places K of recall at K.
        blank: `[M]`, scores of an image that shows nothing; None: no such control.
        seed: of the order of the shuffled texts.

    Example:
        >>> metric = MatchingRetrieval(torch.arange(3), ks=[1], blank=torch.zeros(3))
        >>> metric({"scores": torch.eye(3)}, {"text_id": torch.arange(3), "index": torch.arange(3)})
        >>> result = metric.aggregate()
        >>> result["retrieval_r1_image_to_text"], round(result["retrieval_r1_image_to_text_blank_image"], 3)
        (1.0, 0.333)
    """

    def __init__(
        self, text_id: Tensor, ks: Sequence[int] = (1, 5, 10), blank: Tensor | None = None, seed: int = 0
    ) -> None:
        super().__init__()
        self.text_id = text_id
        self.ks = tuple(ks)
        self.blank = blank
        self.seed = seed
        self._figures: Figures = {}

    def __call__(self, prediction: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> None:
        """Add images.

        Args:
            prediction: `scores` `[B, M]`.
            target: `text_id` `[B]` int64, number of the text that belongs to each; `index` `[B]` int64, number in the
                data set.
        """
        self.extend(prediction["scores"].detach().float(), target["text_id"], target["index"])

    def aggregate(self) -> dict[str, float]:
        """Compute the metrics of all images added.

        Returns:
            For both directions D in `image_to_text`, `text_to_image` and each K: `retrieval_rK_D` in [0, 1],
            `retrieval_rK_D_chance`, what a random order gives, `retrieval_rK_D_over_chance`, their ratio,
            `retrieval_median_rank_D` and `retrieval_pool_D`, the number of items searched; and for recall and median
            rank, with a suffix,

            - `_shuffled`: each image has the text of another one, drawn at random;
            - `_blank_image`: every image is judged as the blank one. From image to text this is what the texts alone
              give; from text to image all scores of a text are equal, and the order is that of the data set.

        Raises:
            ValueError: when no image was added.
        """
        pairs = self._gathered()
        found = pairs.search()
        self._figures = recall_figures(found, self.ks)
        for name, queries in found.items():
            self._figures |= {f"retrieval_r{k}_{name}_chance": queries.chance(k) for k in self.ks}
        for suffix, control in self._controls(pairs).items():
            figures = recall_figures(control.search(), self.ks)
            controlled = {name: one for name, one in figures.items() if not name.endswith(_UNCONTROLLED)}
            self._figures |= {f"{name}_{suffix}": one for name, one in controlled.items()}
        return {name: one if isinstance(one, float) else value_of(one) for name, one in self._figures.items()}

    def samples(self) -> dict[str, Samples]:
        """What the means of the latest `aggregate` were taken over, one value a query."""
        return {name: one for name, one in self._figures.items() if isinstance(one, Samples)}

    def _controls(self, pairs: ScoredPairs) -> dict[str, ScoredPairs]:
        controls = {"shuffled": pairs.shuffled(self.seed)}
        return controls if self.blank is None else controls | {"blank_image": pairs.with_row(self.blank)}

    def _gathered(self) -> ScoredPairs:
        buffers = self.get_buffer()
        if buffers is None:
            raise ValueError("retrieval was asked for before any image was judged; check that the split has items")
        scores, text_id, index = buffers
        order = index.argsort(stable=True)
        order = order[first_of_each(index[order])]
        columns = self.text_id.to(text_id.device)
        ascending = columns.argsort()
        own = ascending[torch.searchsorted(columns[ascending], text_id[order])]
        return ScoredPairs(scores[order], own, index[order])
