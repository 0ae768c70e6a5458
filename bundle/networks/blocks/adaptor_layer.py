"""The layers of an Adaptor: attention, feed-forward, and a LayerNorm after each."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["AdaptorLayer", "FusionLayer", "ValueLayer"]


class AdaptorLayer(nn.Module):
    """The parameters of a layer, and what comes after its attention.

    With the published sizes it has 5,513,984 parameters: attention 2,362,368, feed-forward 3,148,544, two LayerNorms
    3,072.

    Args:
        width: D of the streams.
        heads: of the attention; they divide `width`.
        feedforward: width between the two linear maps.
        dropout: of attention weights, of both branches, and between the linear maps.
    """

    def __init__(self, width: int = 768, heads: int = 12, feedforward: int = 2048, dropout: float = 0.1) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(width, heads, dropout=dropout, batch_first=True)
        self.attention_norm = nn.LayerNorm(width)
        self.feedforward = nn.Sequential(
            nn.Linear(width, feedforward), nn.ReLU(), nn.Dropout(dropout), nn.Linear(feedforward, width)
        )
        self.feedforward_norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def finish(self, stream: Tensor, attended: Tensor) -> Tensor:
        """Add attention's result `[B, T, D]` to a stream `[B, T, D]`, then the feed-forward's."""
        stream = self.attention_norm(stream + self.dropout(attended))
        return self.feedforward_norm(stream + self.dropout(self.feedforward(stream)))


class ValueLayer(AdaptorLayer):
    """What the published layer computes: each token by itself, through the value path of the attention.

    The published layer attends from one token of the other modality to one token, on whose stream the residual sits. A
    softmax over one key is 1, so the attention is its value path, `W_o W_v x` with biases, and the query drops out. The
    maps of queries and keys are there, are saved and decay, but get no other gradient than zero; they lie in one tensor
    with those of the values, so that DDP finds every parameter in use. Dropout of the attention's weights silences
    whole heads of a token, here as there.
    """

    def forward(self, tokens: Tensor) -> Tensor:
        """Transform every token alone: `[B, T, D]` to `[B, T, D]`."""
        attention, width = self.attention, tokens.shape[-1]
        weight, bias = attention.in_proj_weight[2 * width :], attention.in_proj_bias[2 * width :]
        heads = F.linear(tokens, weight, bias).unflatten(-1, (attention.num_heads, -1))
        kept = F.dropout(heads.new_ones(*heads.shape[:-1], 1), attention.dropout, self.training)
        return self.finish(tokens, attention.out_proj((heads * kept).flatten(-2)))


class FusionLayer(AdaptorLayer):
    """Attention of a stream to a context, the residual on the querying stream."""

    def forward(self, stream: Tensor, context: Tensor, padding: Tensor | None = None) -> Tensor:
        """Let a stream read a context.

        Args:
            stream: `[B, T, D]`.
            context: `[B, L, D]`, the stream itself for self-attention.
            padding: bool `[B, L]`, true where the context is padding, which nothing reads.

        Returns:
            `[B, T, D]`.
        """
        attended, _ = self.attention(stream, context, context, key_padding_mask=padding, need_weights=False)
        return self.finish(stream, attended)
