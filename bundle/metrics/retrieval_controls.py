"""Retrieval with the controls that tell what its figures owe to the images and to the pairing."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from .retrieval import Figures, Queries, RetrievalMetric, recall_figures, search
from .retrieval_pairs import Pairs
from .retrieval_precision import precision_figures

__all__ = ["ControlledRetrieval"]

_FIGURE = re.compile(r"retrieval_(r\d+|p\d+|median_rank)_(image_to_text|text_to_image)")  # those that have controls


class ControlledRetrieval(RetrievalMetric):
    """Recall and, by relevance groups, precision at K, beside what chance, shuffled texts and a blank image give.

    Args:
        ks: the places K of recall at K.
        precision_ks: the places K of precision at K.
        groups: relevance group of each item by its number in the data set, from 0, and -1 for none, as
            `relevance_groups` returns them; None: no precision.
        blank: `[d]` or `[1, d]`, embedding of an image that shows nothing; None: no such control.
        seed: of the order of the shuffled texts.

    Example:
        >>> metric = ControlledRetrieval(ks=[1], blank=torch.ones(3))
        >>> eye, number = torch.eye(3), torch.arange(3)
        >>> metric({"image_embedding": eye, "text_embedding": eye}, {"text_id": number, "index": number})
        >>> metric.aggregate()["retrieval_r1_image_to_text_blank_image"]
        0.3333333333333333
    """

    def __init__(
        self,
        ks: Sequence[int] = (1, 5, 10),
        precision_ks: Sequence[int] = (5, 10, 100),
        groups: Sequence[int] | None = None,
        blank: Tensor | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(ks)
        self.precision_ks = tuple(precision_ks)
        self.groups = None if groups is None else torch.as_tensor(groups, dtype=torch.int64)
        self.blank = blank
        self.seed = seed

    def measure(self, pairs: Pairs) -> Figures:
        """The metrics of pairs.

        Returns:
            Those of `recall_figures` and `precision_figures`; `retrieval_rK_D_chance`; and for recall, precision and
            median rank, with a suffix,

            - `_shuffled`: each image has the text of another one, drawn at random;
            - `_blank_image`: every image is replaced by the blank one. From image to text this is what the order of the
              texts alone gives; from text to image all similarities are equal, and the order is that of the data set.
        """
        found = search(pairs)
        result = self._plain(pairs, found)
        result |= {f"retrieval_r{k}_{name}_chance": one.chance(k) for name, one in found.items() for k in self.ks}
        controls = {"shuffled": pairs.shuffled(self.seed)}
        if self.blank is not None:
            controls["blank_image"] = pairs.with_image(self.blank)
        for suffix, control in controls.items():
            figures = self._plain(control, search(control))
            result |= {f"{name}_{suffix}": one for name, one in figures.items() if _FIGURE.fullmatch(name)}
        return result

    def _plain(self, pairs: Pairs, found: Mapping[str, Queries]) -> Figures:
        figures = recall_figures(found, self.ks)
        return figures if self.groups is None else figures | precision_figures(pairs, self.groups, self.precision_ks)
