"""Frozen text encoders: any Hugging Face encoder, its pooled vector first, then its tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from bundle.networks.encoders.frozen_encoder import FrozenEncoder
from bundle.networks.encoders.hugging_face import pooler_of
from bundle.networks.encoders.text_encoder import TextEncoder
from bundle.networks.weights.checkpoint import load_weights

__all__ = ["FrozenText", "feature_mask"]

Pooled = Literal["cls", "pooler", "mean"]


class FrozenText(FrozenEncoder):
    """A text encoder of which nothing is trained.

    Args:
        source: hub name or local folder, or values of a `transformers.BertConfig`: see `TextEncoder`.
        vocab_size: number of words of the tokenizer, to be checked against the model; None checks nothing.
        pooled: the vector in front: "cls" (the first token's), "pooler" (BERT's pooler on it, as published) or "mean"
            (over a report's tokens).
        weights: `model.safetensors` of a pre-training run with this text encoder; None: as `source` gives them.

    Attributes:
        width: C, size of the features.
        vocab_size: number of words of the model.
        max_length: most tokens that the model takes, or None where there is no limit.
        model: the transformers model.

    Raises:
        ValueError: if an argument does not fit the model.
        WeightsError: if `source` or `weights` cannot be loaded, or has no pooler where one is asked for.

    Example:
        >>> source = {"vocab_size": 4000, "hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4}
        >>> FrozenText(source)(torch.tensor([[2, 7, 9, 3]]), torch.ones(1, 4)).shape
        torch.Size([1, 5, 256])
    """

    def __init__(
        self,
        source: str | Path | Mapping[str, Any],
        vocab_size: int | None = None,
        pooled: Pooled = "cls",
        weights: str | Path | None = None,
    ) -> None:
        if pooled not in get_args(Pooled):
            raise ValueError(f"There is no pooled vector {pooled!r}; take one of {', '.join(get_args(Pooled))}.")
        encoder = TextEncoder(source, freeze_layers=0, pooling="tokens", vocab_size=vocab_size)
        if weights is not None:
            load_weights(encoder, weights, prefix="text_encoder.")
        super().__init__(encoder, encoder.width)
        self.pooled = pooled
        self.vocab_size, self.max_length = encoder.vocab_size, encoder.max_length
        self.pooler = pooler_of(source).requires_grad_(False).eval() if pooled == "pooler" else None

    @property
    def model(self) -> Any:
        """The transformers model."""
        return self.encoder.model

    def extra_repr(self) -> str:
        """What fingerprints tell apart beside layers and weights."""
        return f"pooled={self.pooled}"

    @torch.no_grad()
    def forward(self, input_ids: Tensor, attention_mask: Tensor, lengths: Sequence[int] | None = None) -> Tensor:
        """Encode reports.

        Args:
            input_ids: `[B, L]` int64, right padded.
            attention_mask: `[B, L]`, 1 for a token and 0 for padding.
            lengths: tokens of each report, host integers; the longest is checked in place of L.

        Returns:
            `[B, 1 + L, C]`: the pooled vector, then the tokens; rows of padding mean nothing (see `feature_mask`).

        Raises:
            ValueError: if a report has more tokens than the model takes.
        """
        tokens = self.encoder(input_ids, attention_mask, lengths)
        return torch.cat([self._pool(tokens, attention_mask), tokens], 1)

    def _pool(self, tokens: Tensor, attention_mask: Tensor) -> Tensor:
        if self.pooled == "mean":
            weight = attention_mask[..., None].to(tokens.dtype)
            return (tokens * weight).sum(1, keepdim=True) / weight.sum(1, keepdim=True)
        return tokens[:, :1] if self.pooler is None else self.pooler(tokens)[:, None]


def feature_mask(attention_mask: Tensor) -> Tensor:
    """Where features of texts are: `[B, 1 + L]` from a mask of tokens `[B, L]`; the pooled vector always is."""
    return F.pad(attention_mask, (1, 0), value=1)
