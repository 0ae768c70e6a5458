"""Two-layer projections into the space that images and reports share."""

from __future__ import annotations

from torch import Tensor, nn

__all__ = ["AllTokensProjection", "PatchProjection", "Projection"]


def _norm(name: str, width: int, batch_norm: type[nn.Module]) -> nn.Module:
    norms = {"batch": lambda: batch_norm(width, affine=False), "layer": lambda: nn.LayerNorm(width)}
    if name not in norms:
        raise ValueError(f"a projection's norm is one of {sorted(norms)}, not '{name}'")
    return norms[name]()


class PatchProjection(nn.Sequential):
    """1x1 convolution, BatchNorm without scale, ReLU, 1x1 convolution: `[B, in, h, w]` to `[B, out, h, w]`.

    Args:
        in_channels: channels of the encoder's last map (2048 for ResNet-50).
        out_channels: D, width of the shared space (128).
        hidden_channels: width between the convolutions; `out_channels` where not given.
    """

    def __init__(self, in_channels: int, out_channels: int = 128, hidden_channels: int | None = None) -> None:
        hidden = hidden_channels or out_channels
        super().__init__(
            nn.Conv2d(in_channels, hidden, 1, bias=False),
            nn.BatchNorm2d(hidden, affine=False),
            nn.ReLU(inplace=True),
            nn.Conv2d(hidden, out_channels, 1, bias=False),
        )


class Projection(nn.Sequential):
    """Linear, norm, ReLU, linear on vectors: `[B, in]` to `[B, out]`.

    Applied to a report's pooled vector, the norm sees no pad token, so padding cannot change an embedding.

    Args:
        in_features: width of the text encoder (768).
        out_features: D, width of the shared space (128).
        hidden_features: width between the layers; `out_features` where not given.
        norm: `batch` (statistics of the batch, no scale) or `layer`.
    """

    def __init__(
        self, in_features: int, out_features: int = 128, hidden_features: int | None = None, norm: str = "batch"
    ) -> None:
        hidden = hidden_features or out_features
        super().__init__(
            nn.Linear(in_features, hidden, bias=False),
            _norm(norm, hidden, nn.BatchNorm1d),
            nn.ReLU(inplace=True),
            nn.Linear(hidden, out_features, bias=False),
        )


class AllTokensProjection(Projection):
    """The projection as released: every token passes, pads included, and the first is the embedding.

    `[B, L, in]` to `[B, out]`. The BatchNorm's statistics run over all B x L positions, so the embedding depends on the
    padding: for comparison with the released code only.
    """

    def forward(self, tokens: Tensor) -> Tensor:
        """Project all tokens together and return those of position 0."""
        batch, length, _ = tokens.shape
        return super().forward(tokens.flatten(0, 1)).unflatten(0, (batch, length))[:, 0]
