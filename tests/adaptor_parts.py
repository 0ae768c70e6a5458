"""Frozen encoders and Adaptors small enough for tests."""

from __future__ import annotations

from typing import Any

import torch

from bundle.networks.encoders.frozen_image import (
    AutoencoderTokens,
    FrozenImage,
    HuggingFaceTokens,
    PyramidTokens,
    TimmTokens,
)
from bundle.networks.encoders.frozen_text import FrozenText
from bundle.networks.encoders.image_encoder import TimmEncoder
from bundle.networks.nets.adaptor import Adaptor
from bundle.networks.nets.frozen_pair import FrozenPair

BERT = {
    "vocab_size": 60,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 24,
    "max_position_embeddings": 32,
}
DINO = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 56, "patch_size": 14}
SMALL: dict[str, Any] = {"width": 24, "heads": 4, "feedforward": 20}


def image_encoder(kind: str) -> FrozenImage:
    """A tiny random one; it takes images of 56 x 112 px."""
    torch.manual_seed(0)
    if kind == "autoencoder":
        return AutoencoderTokens()
    if kind == "pyramid":
        return PyramidTokens(TimmEncoder("resnet18", channels=(8, 16, 24, 32), out_indices=(0, 1, 2)))
    if kind == "hugging face":
        return HuggingFaceTokens(DINO)
    name = "vit_small_patch14_reg4_dinov2" if kind == "registers" else "vit_small_patch14_dinov2"
    return TimmTokens(name, embed_dim=32, depth=2, num_heads=2, img_size=56)


ENCODERS = ("pyramid", "timm", "registers", "hugging face", "autoencoder")


def reports(lengths: list[int], seed: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    """A right-padded batch: token numbers and attention mask `[B, L]`."""
    mask = (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]).long()
    ids = torch.randint(5, 60, mask.shape, generator=torch.Generator().manual_seed(seed))
    return ids * mask, mask


def pair(**options: Any) -> FrozenPair:
    """A whole network without dropout in its adaptor."""
    image, text = image_encoder("pyramid"), FrozenText(BERT)
    return FrozenPair(image, text, Adaptor(image.width, text.width, **SMALL, dropout=0.0, **options))
