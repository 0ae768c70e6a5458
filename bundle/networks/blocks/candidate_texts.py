"""Which texts each image is to choose from, when ranking is learned within a batch."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bundle.networks.blocks.patch_masking import repeatable_generator

__all__ = ["CandidateTexts"]


class CandidateTexts(nn.Module):
    """The own text of each image and others of its batch, drawn at random.

    Others differ from the own text and from each other; all that do are equally likely. They are drawn on the device,
    which is asked nothing, and in evaluation the same ones for the same batch. Published are others of the whole data
    set, whose texts then have to be encoded, too; in a shuffled batch they are as random, and cost no encoding.

    Reference: M3AE (arXiv 2209.07098), fine-tuning for retrieval.

    Args:
        negatives: K, other texts of an image; 15 when published.

    Raises:
        ValueError: if there is to be none.

    Example:
        >>> numbers, present = CandidateTexts(2).eval()(torch.tensor([7, 7, 5]))
        >>> numbers[:, 0].tolist(), present.tolist()
        ([0, 1, 2], [[True, True, False], [True, True, False], [True, True, False]])
    """

    def __init__(self, negatives: int = 15) -> None:
        super().__init__()
        if negatives < 1:
            raise ValueError(f"An image needs one other text or more to choose from, not {negatives}; raise negatives.")
        self.negatives = negatives

    def forward(self, text_id: Tensor) -> tuple[Tensor, Tensor]:
        """Draw.

        Args:
            text_id: int64 `[B]`, equal for equal texts.

        Returns:
            Numbers of texts in the batch, int64 `[B, 1 + min(K, B - 1)]`, the own one first; and whether each is a
            candidate, bool of that shape: not all are where the batch has fewer different texts.

        Raises:
            ValueError: in training, if the batch is too small for K others.
        """
        size = len(text_id)
        if self.training and size <= self.negatives:
            raise ValueError(
                f"A batch of {size} pairs has no {self.negatives} other texts for an image; raise batch_size above "
                f"{self.negatives} or lower negatives."
            )
        position = torch.arange(size, device=text_id.device)
        same = text_id[:, None] == text_id[None, :]
        repeated = same.long().argmax(1) != position  # of equal texts the first stands for all
        generator = repeatable_generator(self.training, text_id.device)
        noise = torch.rand(size, size, device=text_id.device, generator=generator)
        drawn = noise.masked_fill(same | repeated, -1).topk(min(self.negatives, size - 1), 1)
        numbers = torch.cat([position[:, None], drawn.indices], 1)
        return numbers, torch.cat([torch.ones_like(same[:, :1]), drawn.values >= 0], 1)
