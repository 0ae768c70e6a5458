"""Hugging Face encoders: built from config values, or loaded from the hub or a folder with nothing missing."""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping
from typing import Any

import transformers

from bundle.networks.weights.errors import WeightsError

__all__ = ["build_encoder", "load_pretrained", "pooler_of"]

_BERT_UNDER_OTHER_NAMES = ("cxr-bert",)  # model types that are BERT with a head that we do not use


def build_encoder(values: Mapping[str, Any], pooler: bool = False) -> Any:
    """Build an encoder with random weights.

    Args:
        values: of its configuration; absent ones are the family's defaults. `model_type` names the family, "bert" where
            it is not given.
        pooler: whether it has a pooler, if the family has any.

    Returns:
        The transformers model, attention by scaled_dot_product_attention.

    Raises:
        ValueError: if there is no such family or the family has no such value, or the values do not fit together.

    Example:
        >>> build_encoder({"vocab_size": 4000, "hidden_size": 256, "num_attention_heads": 4, "num_hidden_layers": 4})
        >>> build_encoder({"model_type": "roberta", "vocab_size": 50265, "max_position_embeddings": 514})
    """
    kind = values.get("model_type", "bert")
    kind = "bert" if kind in _BERT_UNDER_OTHER_NAMES else kind
    if kind not in transformers.CONFIG_MAPPING:
        raise ValueError(f"There is no text encoder of the kind {kind!r}; see transformers.CONFIG_MAPPING.")
    family = transformers.CONFIG_MAPPING[kind]
    if unknown := sorted(set(values) - set(family().to_dict())):
        raise ValueError(f"A {kind} config has no value {', '.join(unknown)}; see transformers.{family.__name__}.")
    given = {name: value for name, value in values.items() if name != "model_type"}
    model: Any = transformers.MODEL_MAPPING[family]
    return model(family(**{**given, "attn_implementation": "sdpa"}), **_pooling(model, pooler))


def load_pretrained(source: str, pooler: bool = False) -> Any:
    """Load an encoder in fp32; no code from the hub is run.

    Args:
        source: hub name or local folder.
        pooler: whether its pooler, if the family has one, is loaded, too.

    Returns:
        The transformers model, attention by scaled_dot_product_attention.

    Raises:
        WeightsError: if the files are not at hand or unreadable, the family is unknown, or weights are missing.

    Example:
        >>> load_pretrained("emilyalsentzer/Bio_ClinicalBERT").config.vocab_size
        28996
    """
    try:
        family = _family(source)
        model, info = family.from_pretrained(
            source, dtype="float32", attn_implementation="sdpa", output_loading_info=True, **_pooling(family, pooler)
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise WeightsError(
            f"The text encoder {source!r} cannot be loaded ({str(error).splitlines()[0]}); give a folder with "
            "config.json and weights, or a hub name while online."
        ) from error
    if missing := sorted(info["missing_keys"]):
        raise WeightsError(
            f"The text encoder {source!r} lacks {len(missing)} tensors, such as {missing[0]}, which would stay random; "
            "give a complete one."
        )
    return model.train()  # from_pretrained leaves it in eval mode, unlike every other constructor


def pooler_of(source: str | os.PathLike[str] | Mapping[str, Any]) -> Any:
    """BERT's pooler: a linear map and tanh on the first token.

    Args:
        source: hub name or local folder; or config values as for `build_encoder`, for random weights.

    Returns:
        The module: `[B, L, C]` to `[B, C]`.

    Raises:
        ValueError: if the family has no such config value.
        WeightsError: if the model cannot be loaded or comes without trained pooler.
    """
    pooled = (
        build_encoder(source, pooler=True) if isinstance(source, Mapping) else load_pretrained(str(source), pooler=True)
    )
    if getattr(pooled, "pooler", None) is None:
        raise WeightsError(f"The text encoder {source!r} has no pooler; take the CLS token or the mean in its place.")
    return pooled.pooler


def _pooling(family: Any, pooler: bool) -> dict[str, bool]:
    """The argument that a family takes a pooler by; none where it has no pooler."""
    poolers = "add_pooling_layer" in inspect.signature(family.__init__).parameters
    return {"add_pooling_layer": pooler} if poolers else {}


def _family(source: str) -> Any:
    """The transformers class of a model."""
    values, _ = transformers.PretrainedConfig.get_config_dict(source)
    if values.get("model_type") in _BERT_UNDER_OTHER_NAMES:
        return transformers.BertModel
    return transformers.MODEL_MAPPING[type(transformers.AutoConfig.from_pretrained(source))]
