"""From similarities of radiographs and prompts to scores of classes, and from scores to probabilities.

The way to aggregate prompts is a choice that belongs on a validation list.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from bundle.inferers.prompt_embeddings import PromptEmbeddings

__all__ = ["ExclusivePrompts", "LogSumExpPrompts", "MeanPrompts"]


class MeanPrompts:
    """Each side of a class is the ensemble of its prompts; classes are independent of each other.

    The score is (s+ - s-) / T with the similarities s of an image to both sides, so that its logistic function is the
    softmax over the two (CheXzero has T = 1, the contrastive loss of G2D .07). T changes no ranking and no decision at
    probability .5, which is s+ > s-.

    Args:
        temperature: T > 0.

    Attributes:
        needs_negatives: whether every class must have a denying prompt.
    """

    needs_negatives = True

    def __init__(self, temperature: float = 0.07) -> None:
        if temperature <= 0:
            raise ValueError(f"the temperature of prompt scores must be above 0, not {temperature}")
        self.temperature = temperature

    def similarities(self, image: Tensor, prompts: PromptEmbeddings) -> tuple[Tensor, Tensor]:
        """s+ and s-, each `[B, K]`, of images `[B, D]` of length 1."""
        return image @ prompts.positive.T, image @ prompts.negative.T

    def scores(self, positive: Tensor, negative: Tensor) -> Tensor:
        """Scores `[..., K]` from s+ and s- `[..., K]`."""
        return (positive - negative) / self.temperature

    def probabilities(self, scores: Tensor) -> Tensor:
        """Probability of each class from scores `[..., K]`."""
        return scores.sigmoid()


class LogSumExpPrompts(MeanPrompts):
    """The affirming prompts of a class are alternatives, such as places of a finding, of which one is enough.

    s+ = T log mean exp(s / T) over the affirming prompts, between their mean and their maximum; s- and the rest as in
    `MeanPrompts`.
    """

    def similarities(self, image: Tensor, prompts: PromptEmbeddings) -> tuple[Tensor, Tensor]:
        """s+ and s-, each `[B, K]`, of images `[B, D]` of length 1."""
        each = (image @ torch.cat(prompts.positives).T / self.temperature).split([len(p) for p in prompts.positives], 1)
        positive = torch.stack([one.logsumexp(1) - math.log(one.shape[1]) for one in each], 1) * self.temperature
        return positive, image @ prompts.negative.T


class ExclusivePrompts(MeanPrompts):
    """An image has exactly one of the classes: softmax over the ensembles of affirming prompts; others are not used.

    Scores are logarithms of probabilities.
    """

    needs_negatives = False

    def scores(self, positive: Tensor, negative: Tensor) -> Tensor:
        """Scores `[..., K]` from s+ `[..., K]`."""
        return (positive / self.temperature).log_softmax(-1)

    def probabilities(self, scores: Tensor) -> Tensor:
        """Probability of each class from scores `[..., K]`; they sum to 1."""
        return scores.softmax(-1)
