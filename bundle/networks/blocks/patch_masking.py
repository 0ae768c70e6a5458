"""Masking of patches: which of an image's patches an encoder sees."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

__all__ = ["PatchMask", "PatchMasking", "repeatable_generator"]


@dataclass(frozen=True)
class PatchMask:
    """Which patches are kept.

    Attributes:
        keep: int64 `[B, K]`, numbers of the kept patches, in the order in which they are encoded.
        restore: int64 `[B, N]`, for each patch its place in the sequence of the kept and then the removed.
        removed: fp32 `[B, N]`, 1 for a patch that is removed, 0 for one that is kept.
    """

    keep: Tensor
    restore: Tensor
    removed: Tensor

    def select(self, tokens: Tensor) -> Tensor:
        """Tokens `[B, 1 + N, D]`, the pooled one first, to `[B, 1 + K, D]`: the first and the kept."""
        kept = tokens[:, 1:].gather(1, self.keep[..., None].expand(-1, -1, tokens.shape[-1]))
        return torch.cat([tokens[:, :1], kept], 1)


class PatchMasking(nn.Module):
    """Removes patches of each image at random; it draws on the device and asks it nothing.

    In evaluation every call draws the same, so that two evaluations of a network can be compared.

    Reference: M3AE (arXiv 2209.07098), section 2.2; MAE (arXiv 2111.06377).

    Args:
        share: of the patches that are removed; `int(N * (1 - share))` are kept, 81 of 324.

    Raises:
        ValueError: if the share is not between 0 and 1.

    Example:
        >>> PatchMasking()(batch=2, patches=324, device=torch.device("cpu")).keep.shape
        torch.Size([2, 81])
    """

    def __init__(self, share: float = 0.75) -> None:
        super().__init__()
        if not 0 < share < 1:
            raise ValueError(f"The share of removed patches must lie between 0 and 1; it is {share}.")
        self.share = share

    def forward(self, batch: int, patches: int, device: torch.device) -> PatchMask:
        """Draw a mask.

        Args:
            batch: B, number of images.
            patches: N, number of patches of each.
            device: where the mask is made.

        Returns:
            The mask.

        Raises:
            ValueError: if so few patches leave none to keep or none to remove.
        """
        kept = int(patches * (1 - self.share))
        if not 0 < kept < patches:
            raise ValueError(
                f"Removing {self.share:.0%} of {patches} patches keeps {kept}: enlarge the image or change the share."
            )
        noise = torch.rand(batch, patches, device=device, generator=repeatable_generator(self.training, device))
        order = noise.argsort(1)
        restore = order.argsort(1)
        return PatchMask(order[:, :kept], restore, (restore >= kept).float())


def repeatable_generator(training: bool, device: torch.device) -> torch.Generator | None:
    """What a module draws from: the global generator in training, a fresh one, always the same, in evaluation.

    Args:
        training: whether the module trains.
        device: on which it draws.

    Returns:
        The generator, None for the global one.
    """
    return None if training else torch.Generator(device).manual_seed(0)
