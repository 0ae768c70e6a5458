"""Attention pooling of a patch map to one vector, with the attention that made it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["AttentionPool", "IdentityAttentionPool", "PlacedAttentionPool"]


class _Attention(nn.Module):
    """Multi-head attention weights of a mean token over patches with learned positions."""

    def __init__(self, width: int, heads: int, size: Sequence[int], inner_width: int | None) -> None:
        super().__init__()
        inner = inner_width or width
        if inner % heads:
            raise ValueError(
                f"attention pooling: {heads} heads do not divide the inner width {inner}; "
                f"set `inner_width` to a multiple of {heads}, such as 192 for 3 heads"
            )
        self.heads = heads
        self.size = (int(size[0]), int(size[1]))
        self.positions = nn.Parameter(torch.randn(1 + self.size[0] * self.size[1], width) / width**0.5)
        self.query = nn.Linear(width, inner)
        self.key = nn.Linear(width, inner)

    def tokens(self, patches: Tensor) -> Tensor:
        """Mean token and patches with their positions, `[B, D, h, w]` to `[B, 1 + h w, D]`."""
        flat = patches.flatten(2).transpose(1, 2)
        tokens = torch.cat([flat.mean(1, keepdim=True), flat], dim=1)
        return tokens + self._positions_at(patches.shape[-2:]).to(tokens.dtype)

    def split(self, x: Tensor) -> Tensor:
        """`[B, N, inner]` to `[B, heads, N, inner / heads]`."""
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def weights(self, query: Tensor, keys: Tensor) -> Tensor:
        """Softmax in fp32 over the keys: `[B, 1, D]` and `[B, N, D]` to `[B, heads, 1, N]`."""
        q, k = self.split(self.query(query)), self.split(self.key(keys))
        return ((q @ k.transpose(-2, -1)).float() / q.shape[-1] ** 0.5).softmax(-1)

    def _positions_at(self, size: Sequence[int]) -> Tensor:
        return torch.cat([self.positions[:1], self.resized(self.positions[1:], size)])

    def resized(self, table: Tensor, size: Sequence[int]) -> Tensor:
        """What is learned for each patch `[h w, D]`, for a map of another size: `[H W, D]`."""
        if tuple(size) == self.size:
            return table
        grid = F.interpolate(
            table.T.unflatten(1, self.size)[None], size=tuple(size), mode="bicubic", align_corners=False
        )
        return grid[0].flatten(1).T


class AttentionPool(_Attention):
    """Pool with projected values, as published.

    Tokens are the mean of the patches and the patches, both with learned positions. The mean token is the only query;
    the attended values pass an output projection and a final linear layer. The mean token's attention to itself is left
    out of the returned maps, which therefore sum to less than 1.

    Args:
        width: D, width of a patch (128).
        heads: number of heads (4). The paper's 3 do not divide 128: ask for them with an `inner_width` such as 192.
        size: (h, w) of the map that the positions are learned for; other sizes interpolate them.
        inner_width: width of queries, keys and values; `width` where not given.

    Raises:
        ValueError: when `heads` does not divide the inner width.

    Reference: G2D (arXiv 2312.01522), section 3.2.
    """

    def __init__(self, width: int, heads: int, size: Sequence[int], inner_width: int | None = None) -> None:
        super().__init__(width, heads, size, inner_width)
        inner = inner_width or width
        self.value = nn.Linear(width, inner)
        self.output = nn.Linear(inner, width)
        self.final = nn.Linear(width, width)

    def forward(self, patches: Tensor) -> tuple[Tensor, Tensor]:
        """Pool a map.

        Args:
            patches: `[B, D, h, w]`.

        Returns:
            The pooled vector `[B, D]` and the attention `[B, heads, h, w]`, fp32.
        """
        tokens = self.tokens(patches)
        weights = self.weights(tokens[:, :1], tokens)
        values = self.split(self.value(tokens))
        attended = (weights.to(values.dtype) @ values).transpose(1, 2).flatten(2)[:, 0]
        attention = weights[:, :, 0, 1:].unflatten(-1, patches.shape[-2:])
        return self.final(self.output(attended)), attention

    def patch_values(self, patches: Tensor) -> Tensor:
        """Send each patch `[B, D, h, w]` alone down the value path, into the space of the pooled vector."""
        tokens = self.tokens(patches)[:, 1:]
        values = self.final(self.output(self.value(tokens)))
        return values.transpose(1, 2).unflatten(-1, patches.shape[-2:])


class IdentityAttentionPool(_Attention):
    """Pool without projecting values: the vector is the attention-weighted mean of the patches themselves.

    A patch and the pooled vector then live in the same space, so a phrase can be compared with patches directly. The
    mean token queries but is not attended, so the maps of each head sum to 1. Arguments as in `AttentionPool`.
    """

    def __init__(self, width: int, heads: int, size: Sequence[int], inner_width: int | None = None) -> None:
        super().__init__(width, heads, size, inner_width)

    def forward(self, patches: Tensor) -> tuple[Tensor, Tensor]:
        """Pool a map `[B, D, h, w]` to a vector `[B, D]`, with the attention `[B, heads, h, w]`, fp32."""
        tokens = self.tokens(patches)
        weights = self.weights(tokens[:, :1], tokens[:, 1:])[:, :, 0]
        pooled = (patches.flatten(2) @ weights.mean(1).to(patches.dtype)[..., None])[..., 0]
        return pooled, weights.unflatten(-1, patches.shape[-2:])

    def patch_values(self, patches: Tensor) -> Tensor:
        """Return the patches `[B, D, h, w]` as they are: they already share the space of the pooled vector."""
        return patches


class PlacedAttentionPool(IdentityAttentionPool):
    """Pool patches together with a learned vector of their place: the result says what is there, and where.

    Places enter the pooled vector alone. A phrase is compared with patches as they are, so that its map shows no place
    that the patch itself does not. Without places a network learns sides late: the mean of the patches knows left from
    right only as far as each patch does. Arguments as in `AttentionPool`.
    """

    def __init__(self, width: int, heads: int, size: Sequence[int], inner_width: int | None = None) -> None:
        super().__init__(width, heads, size, inner_width)
        self.places = nn.Parameter(torch.randn(self.size[0] * self.size[1], width) / width**0.5)

    def forward(self, patches: Tensor) -> tuple[Tensor, Tensor]:
        """Pool a map `[B, D, h, w]` to a vector `[B, D]`, with the attention `[B, heads, h, w]`, fp32."""
        pooled, attention = super().forward(patches)
        places = self.resized(self.places, patches.shape[-2:]).to(patches.dtype)
        return pooled + attention.mean(1).flatten(1).to(patches.dtype) @ places, attention
