"""Text encoders: any Hugging Face encoder, frozen layers, work only on the tokens that are there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn
from torch.nn import functional as F

from bundle.networks.encoders.hugging_face import build_encoder, load_pretrained
from bundle.networks.encoders.token_packing import TokenPacking

__all__ = ["TextEncoder"]

_BERT_LAYERS = ("bert", "roberta", "xlm-roberta", "camembert")  # families whose layers are built as BERT's
_SHIFTED_POSITIONS = ("roberta", "xlm-roberta", "camembert")  # count positions from padding_idx + 1
_POOLINGS = ("cls", "mean", "tokens")

Mask = torch.Tensor | None


class TextEncoder(nn.Module):
    """Encodes reports to one vector each, or one a token.

    **Packed tokens.** Given the reports' lengths as host integers, every layer works on the tokens that are there,
    one after another without padding; only attention itself, some hundredths of the work, sees a padded batch. The
    result is that of the padded batch, up to rounding and to the draws of dropout. Families whose layers differ from
    BERT's run padded to the longest report. With pooling "tokens" every position is computed, padding too.

    **CLS pooling.** In the last layer only the CLS row is used, so only its query is computed, against keys and values
    of all tokens. Families whose layers differ from BERT's compute the full layer.

    **Freezing** sets `requires_grad` to False; with frozen embeddings autograd then keeps nothing below the first
    trained layer. Dropout in frozen layers stays active in training mode, as in G2D, where it serves as augmentation.
    Linear maps of frozen layers may be kept in bf16: under autocast, which would cast them at every step, the result is
    the same to the bit, at half their memory.

    Args:
        source: hub name or local folder of an encoder (BERT, RoBERTa, CXR-BERT, DistilBERT, ELECTRA, ...), or values
            of a `transformers.BertConfig` (`vocab_size`, `hidden_size`, `num_hidden_layers`, ...) to build one with
            random weights, with no download.
        freeze_layers: number of layers frozen from the bottom.
        freeze_embeddings: whether word, position and type embeddings with their LayerNorm are frozen.
        frozen_dtype: of the linear maps in frozen layers; bf16 only where the network runs under bf16 autocast.
        pooling: "cls" (first token), "mean" (over a report's tokens), or "tokens" (no pooling).
        vocab_size: number of words of the tokenizer, to be checked against the model; None checks nothing.

    Attributes:
        width: size of the output vectors.
        vocab_size: number of words of the model.
        max_length: most tokens that the model takes, or None where the positions have no limit.

    Raises:
        ValueError: if an argument does not fit the model, or the tokenizer has more words than it.
        WeightsError: if `source` cannot be loaded.

    Example:
        >>> source = {"vocab_size": 4000, "hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4}
        >>> encoder = TextEncoder(source, freeze_layers=0, freeze_embeddings=False)
        >>> encoder(torch.tensor([[2, 7, 9, 3]]), torch.ones(1, 4)).shape
        torch.Size([1, 256])
    """

    def __init__(
        self,
        source: str | Path | Mapping[str, Any],
        freeze_layers: int = 9,
        freeze_embeddings: bool = True,
        frozen_dtype: torch.dtype = torch.float32,
        pooling: Literal["cls", "mean", "tokens"] = "cls",
        vocab_size: int | None = None,
    ) -> None:
        super().__init__()
        if pooling not in _POOLINGS:
            raise ValueError(f"There is no pooling {pooling!r}; take one of {', '.join(_POOLINGS)}.")
        self.model = build_encoder(source) if isinstance(source, Mapping) else load_pretrained(str(source))
        config = self.model.config
        self.pooling = pooling
        self.width: int = config.hidden_size
        self.vocab_size: int = config.vocab_size
        self.max_length = _max_length(config)
        if vocab_size is not None and vocab_size > self.vocab_size:
            raise ValueError(
                f"The tokenizer has {vocab_size} words, the text encoder {source!r} only {self.vocab_size}; use the "
                "tokenizer that belongs to it, or build the encoder with that vocab_size."
            )
        _freeze(self.model, freeze_layers, freeze_embeddings, frozen_dtype)

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, lengths: Sequence[int] | None = None
    ) -> torch.Tensor:
        """Encode reports.

        Args:
            input_ids: token numbers [B, L], int64, right-padded.
            attention_mask: 1 for tokens, 0 for padding [B, L].
            lengths: tokens of each report, host integers, in the order of the batch. None computes padding, too.

        Returns:
            Vectors [B, width], or [B, L, width] with pooling "tokens", where rows of padding mean nothing.

        Raises:
            ValueError: if a report has more tokens than the model takes.
        """
        width = input_ids.shape[1]
        longest = max(lengths) if lengths else width
        if self.max_length is not None and longest > self.max_length:
            raise ValueError(
                f"Reports of {longest} tokens do not fit the text encoder, which takes {self.max_length}; cut them "
                "when they are tokenized."
            )
        if lengths is None or self.pooling == "tokens":
            return self._encode(input_ids, _attend(attention_mask))
        input_ids, attention_mask = input_ids[:, :longest], attention_mask[:, :longest]
        if longest == min(lengths):
            return self._encode(input_ids, None)  # without padding no mask, which leaves the fastest kernels open
        if self.model.config.model_type not in _BERT_LAYERS:
            return self._encode(input_ids, _attend(attention_mask))
        return self._encode_packed(input_ids, attention_mask, sum(lengths))

    def _encode(self, input_ids: torch.Tensor, mask: Mask) -> torch.Tensor:
        """Encode a batch, its padding too."""
        if self.pooling == "cls" and self.model.config.model_type in _BERT_LAYERS:
            *lower, last = self.model.encoder.layer
            hidden = self.model.embeddings(input_ids=input_ids)
            for layer in lower:
                hidden = layer(hidden, mask)
            return _first_rows(last, hidden[:, 0], _project(last, hidden), mask)
        hidden = self.model(input_ids=input_ids, attention_mask=mask).last_hidden_state
        if self.pooling == "cls":
            return hidden[:, 0]
        return _mean(hidden, mask) if self.pooling == "mean" else hidden

    def _encode_packed(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, tokens: int) -> torch.Tensor:
        """Encode the tokens of a batch alone; for families built as BERT."""
        packing, mask = TokenPacking(attention_mask, tokens), _attend(attention_mask)
        hidden = packing.pack(self.model.embeddings(input_ids=input_ids))
        *lower, last = self.model.encoder.layer
        for layer in lower if self.pooling == "cls" else (*lower, last):
            hidden = _packed_layer(layer, hidden, packing, mask)
        if self.pooling == "mean":
            return _mean(packing.pad(hidden), mask)
        keys_and_values = packing.pad(_project(last, hidden))
        return _first_rows(last, hidden[packing.firsts], keys_and_values, mask)


def _attend(attention_mask: torch.Tensor) -> torch.Tensor:
    """The mask as scaled_dot_product_attention takes it, bool [B, 1, 1, L].

    transformers would make it from [B, L] too, but asks the device whether there is padding at all: a host sync.
    """
    return attention_mask[:, None, None, :].bool()


def _mean(hidden: torch.Tensor, mask: Mask) -> torch.Tensor:
    """Mean over a report's tokens: [B, width] from [B, L, width]."""
    if mask is None:
        return hidden.mean(dim=1)
    weights = mask[:, 0, 0, :, None].to(hidden.dtype)
    return (hidden * weights).sum(dim=1) / weights.sum(dim=1)


def _packed_layer(layer: Any, hidden: torch.Tensor, packing: TokenPacking, mask: Mask) -> torch.Tensor:
    """What a BERT layer gives for every token: [T, width] from [T, width]."""
    query = packing.pad(layer.attention.self.query(hidden))
    context = _attention(layer, query, packing.pad(_project(layer, hidden)), mask)
    return layer.feed_forward_chunk(layer.attention.output(packing.pack(context), hidden))


def _first_rows(layer: Any, first: torch.Tensor, keys_and_values: torch.Tensor, mask: Mask) -> torch.Tensor:
    """What a BERT layer gives for first tokens: [B, width] from their rows [B, width] and [B, L, 2 width]."""
    context = _attention(layer, layer.attention.self.query(first)[:, None], keys_and_values, mask)
    return layer.feed_forward_chunk(layer.attention.output(context[:, 0], first))


def _project(layer: Any, hidden: torch.Tensor) -> torch.Tensor:
    """Keys and values of tokens, side by side: [..., 2 width] from [..., width]."""
    return torch.cat([layer.attention.self.key(hidden), layer.attention.self.value(hidden)], dim=-1)


def _attention(layer: Any, query: torch.Tensor, keys_and_values: torch.Tensor, mask: Mask) -> torch.Tensor:
    """The attention of a BERT layer: [B, Q, width] from projected queries [B, Q, width] and [B, L, 2 width]."""
    attention = layer.attention.self
    split = (x.unflatten(-1, (attention.num_attention_heads, -1)) for x in (query, *keys_and_values.chunk(2, dim=-1)))
    asked, keys, values = (x.transpose(1, 2) for x in split)
    dropout = attention.dropout.p if attention.training else 0.0
    context = F.scaled_dot_product_attention(asked, keys, values, attn_mask=mask, dropout_p=dropout)
    return context.transpose(1, 2).flatten(2)


def _freeze(model: Any, freeze_layers: int, freeze_embeddings: bool, dtype: torch.dtype) -> None:
    layers = (model.encoder if hasattr(model, "encoder") else model.transformer).layer
    if not 0 <= freeze_layers <= len(layers):
        raise ValueError(f"The text encoder has {len(layers)} layers; {freeze_layers} of them cannot be frozen.")
    frozen = list(layers[:freeze_layers])
    for linear in (module for layer in frozen for module in layer.modules() if isinstance(module, nn.Linear)):
        linear.to(dtype)
    if freeze_embeddings:
        # ELECTRA has a projection of its embeddings beside them.
        frozen += [child for name, child in model.named_children() if name.startswith("embeddings")]
    for module in frozen:
        module.requires_grad_(False)


def _max_length(config: Any) -> int | None:
    limit = getattr(config, "max_position_embeddings", None)
    if limit is not None and config.model_type in _SHIFTED_POSITIONS:
        limit -= config.pad_token_id + 1
    return limit
