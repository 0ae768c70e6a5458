"""Which image each text is judged with, when image-text matching is learned within a batch."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bundle.networks.blocks.patch_masking import repeatable_generator

__all__ = ["MatchingPairs", "RandomPairs", "SimilarPairs"]


class MatchingPairs(nn.Module, ABC):
    """Half of a batch keeps its images, the other half gets those of other pairs of the same batch.

    Which half is drawn, and so are the images: on the device, which is asked nothing, and in evaluation the same ones
    for the same batch. Pairs with equal texts are no negatives of each other; a text that has no negative in its batch
    is not judged.
    """

    def forward(self, images: Tensor, texts: Tensor, text_id: Tensor) -> tuple[Tensor, Tensor]:
        """Pair texts with images.

        Args:
            images: pooled features `[B, C]` of images.
            texts: pooled features `[B, D]` of texts.
            text_id: int64 `[B]`, equal for equal texts.

        Returns:
            Number of the image that each text is judged with, int64 `[B]`; and the label, fp32 `[B]`: 1 for its own, 0
            for another, nan where there is nothing to judge. `B // 2` labels are 1.
        """
        generator = repeatable_generator(self.training, images.device)
        noise = torch.rand(len(images), device=images.device, generator=generator)
        own = noise.argsort().argsort() < len(images) // 2
        same = text_id[:, None] == text_id[None, :]
        alone = same.all(1)
        # The largest of logits with Gumbel noise is a draw from their softmax, without asking the device anything.
        logits = self.logits(images.detach().float(), texts.detach().float())
        logits = logits - torch.empty_like(logits).exponential_(generator=generator).log()
        other = logits.masked_fill(same, float("-inf")).argmax(1)
        image = torch.where(own | alone, torch.arange(len(images), device=images.device), other)
        return image, own.float().masked_fill(alone & ~own, float("nan"))

    @abstractmethod
    def logits(self, images: Tensor, texts: Tensor) -> Tensor:
        """Logarithms `[B, B]` of the probabilities that text i gets image j, up to a constant of each row."""


class RandomPairs(MatchingPairs):
    """All images with another text are equally likely."""

    def logits(self, images: Tensor, texts: Tensor) -> Tensor:
        """See `MatchingPairs.logits`."""
        return images.new_zeros(len(images), len(images))


class SimilarPairs(MatchingPairs):
    """Hard negatives: images of pairs that look alike and read alike.

    Likeness is the mean of the cosine similarities of two images and of their two texts, after the batch's mean was
    taken off. Each is measured within its modality, since nothing aligns the two before fusion.

    Args:
        temperature: divisor of the likeness; the smaller, the harder. At 1 the likeliest image is up to e^2 times as
            likely as the unlikeliest. A small one pairs the same few images again and again, which an untrained network
            can hardly learn from: start soft.
    """

    def __init__(self, temperature: float = 1.0) -> None:
        super().__init__()
        self.temperature = temperature

    def logits(self, images: Tensor, texts: Tensor) -> Tensor:
        """See `MatchingPairs.logits`."""
        return (_likeness(images) + _likeness(texts)) / (2 * self.temperature)


def _likeness(features: Tensor) -> Tensor:
    """Cosine similarities `[B, B]` of features `[B, C]` about their mean."""
    directions = F.normalize(features - features.mean(0), dim=-1)
    return directions @ directions.T
