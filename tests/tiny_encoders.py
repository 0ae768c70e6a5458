"""Frozen encoders small enough to run in milliseconds, as overlays of `method_adaptor.yaml`."""

from __future__ import annotations

from typing import Any

from workflows import CONFIGS

TINY_ENCODERS: dict[str, Any] = {
    "crop_size": 64,
    "precision": "fp32",
    "image_weights": None,
    "tokenizer": None,
    "text_source": {
        "vocab_size": "@vocab_size",
        "hidden_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "max_position_embeddings": 256,
    },
    "frozen_image": {
        "_target_": "bundle.networks.encoders.frozen_image.PyramidTokens",
        "encoder": {
            "_target_": "bundle.networks.encoders.image_encoder.TimmEncoder",
            "name": "resnet18",
            "channels": [8, 8, 16, 16],
            "stem_width": 8,
        },
        "weights": None,
    },
    "frozen_text": {
        "_target_": "bundle.networks.encoders.frozen_text.FrozenText",
        "source": "@text_source",
        "vocab_size": "@vocab_size",
        "pooled": "mean",
        "weights": None,
    },
}
"""Random weights; encoders that several commands share need weights from files."""

CONFIG_FILES = [str(CONFIGS / f"{name}.yaml") for name in ("pretrain", "method_adaptor")]
