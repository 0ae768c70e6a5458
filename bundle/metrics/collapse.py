"""Whether the embeddings still use their dimensions."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from monai.metrics import Cumulative, compute_embedding_collapse
from torch import Tensor

from .samples import Samples, first_of_each

__all__ = ["CollapseMetric"]


class CollapseMetric(Cumulative):
    """Dimensional collapse of image and text embeddings over a whole validation.

    MONAI's score looks at one tensor; this one gathers it over batches and processes, and counts a text that several
    images share once, since repeated reports are no fault of the network.

    Reference:
        Roy and Vetterli, The effective rank (EUSIPCO 2007), through `monai.metrics.EmbeddingCollapseMetric`.
    """

    def __call__(self, prediction: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> None:
        """Add a batch.

        Args:
            prediction: `image_embedding` and `text_embedding` `[B, d]`.
            target: `text_id` `[B]` int64, equal for equal texts; `index` `[B]` int64, number in the data set.
        """
        image, text = (prediction[name].detach().float() for name in ("image_embedding", "text_embedding"))
        self.extend(image, text, target["text_id"], target["index"])

    def aggregate(self) -> dict[str, float]:
        """Compute two scores of image and of text embeddings.

        Returns:
            `collapse_image`, `collapse_text`: 0 where all dimensions carry the same weight around the mean, 1 where one
            direction carries all. `mean_similarity_image`, `mean_similarity_text`: mean cosine of two embeddings, 1
            where all are alike, which the first score misses if they differ by noise. 1 for embeddings that are not
            finite or fewer than two.

        Raises:
            ValueError: when no pair was added.
        """
        buffers = self.get_buffer()
        if buffers is None:
            raise ValueError(
                "collapse was asked for before any pair was added; check that the validation list has items"
            )
        image, text, text_id, index = buffers
        image, text = image[first_of_each(index)], text[first_of_each(text_id)]
        return {
            "collapse_image": _collapse(image),
            "collapse_text": _collapse(text),
            "mean_similarity_image": _mean_similarity(image),
            "mean_similarity_text": _mean_similarity(text),
        }

    def samples(self) -> dict[str, Samples]:
        """Nothing: the score is no mean over images."""
        return {}


def _usable(embedding: Tensor) -> bool:
    return len(embedding) >= 2 and bool(torch.isfinite(embedding).all())


def _collapse(embedding: Tensor) -> float:
    if not _usable(embedding):
        return 1.0
    scores = compute_embedding_collapse(embedding, reduction="none", include_indicators=["effective_rank"])
    score = scores["effective_rank_score"]
    return 1.0 if score is None else float(score)


def _mean_similarity(embedding: Tensor) -> float:
    """Mean cosine over all pairs of different rows, from the length of their sum."""
    if not _usable(embedding):
        return 1.0
    rows, unit = len(embedding), torch.nn.functional.normalize(embedding.double())
    return float((unit.sum(0).square().sum() - unit.square().sum()) / (rows * (rows - 1)))
