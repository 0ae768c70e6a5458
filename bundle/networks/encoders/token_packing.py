"""Batches of reports without their padding."""

from __future__ import annotations

import torch

__all__ = ["TokenPacking"]


class TokenPacking:
    """Moves between a padded batch and its tokens, one after another.

    The number of tokens comes from the host, so no device is waited for.

    Args:
        attention_mask: 1 for tokens, 0 for padding [B, L]; reports are right-padded and have one token or more.
        tokens: sum of the mask.

    Attributes:
        firsts: place of each report's first token among all tokens [B], int64.

    Example:
        >>> packing = TokenPacking(torch.tensor([[1, 1, 0], [1, 0, 0]]), tokens=3)
        >>> packing.pack(torch.arange(6.0).reshape(2, 3, 1)).flatten()
        tensor([0., 1., 3.])
        >>> packing.firsts
        tensor([0, 2])
    """

    def __init__(self, attention_mask: torch.Tensor, tokens: int) -> None:
        self._shape = attention_mask.shape
        self._places = torch.nonzero_static(attention_mask.flatten(), size=tokens)[:, 0]
        lengths = attention_mask.long().sum(dim=1)
        self.firsts = lengths.cumsum(dim=0) - lengths

    def pack(self, padded: torch.Tensor) -> torch.Tensor:
        """The tokens [T, C] of a padded batch [B, L, C]."""
        return padded.flatten(0, 1).index_select(0, self._places)

    def pad(self, packed: torch.Tensor) -> torch.Tensor:
        """The padded batch [B, L, C] of tokens [T, C], zero where there is padding."""
        rows = packed.new_zeros(self._shape.numel(), packed.shape[-1])
        return rows.index_copy(0, self._places, packed).unflatten(0, self._shape)
