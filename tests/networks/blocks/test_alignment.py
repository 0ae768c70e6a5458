"""Embeddings before fusion: unit length, a gradient into both streams, and none of them where there is no alignment."""

from __future__ import annotations

import torch
from m3ae_parts import batch, small

from bundle.losses.contrastive import ContrastiveLoss
from bundle.networks.blocks.alignment import Alignment


def test_embeddings_are_cosines_of_linear_maps() -> None:
    torch.manual_seed(0)
    alignment, images, texts = Alignment(6, 4), torch.randn(3, 6), torch.randn(3, 6)
    found = alignment(images, texts)
    image = images @ alignment.image.weight.T
    torch.testing.assert_close(found["image_embedding"], image / image.norm(dim=1, keepdim=True))
    torch.testing.assert_close(found["text_embedding"].norm(dim=1), torch.ones(3))


def test_m3ae_aligns_means_of_streams_without_padding() -> None:
    network, given = small(alignment=Alignment(20, 8)).eval(), batch()
    output = network(**given)
    images, texts = (
        network.encode_image(given["image"]),
        network.encode_text(given["input_ids"], given["attention_mask"]),
    )
    own = torch.stack(
        [text[: int(mask.sum())].mean(0) for text, mask in zip(texts, given["attention_mask"], strict=True)]
    )
    expected = network.alignment(images.mean(1), own)
    torch.testing.assert_close(output["text_embedding"], expected["text_embedding"])
    torch.testing.assert_close(output["image_embedding"], expected["image_embedding"])
    ContrastiveLoss(exclude_same=None)(output, {}).backward()
    assert all(p.grad.any() for p in network.alignment.parameters())
    assert network.image_encoder.model.patch_embed.proj.weight.grad.any()
    assert all(p.grad is None for p in network.fusion.text_layers.parameters())


def test_there_are_none_without() -> None:
    assert "image_embedding" not in small()(**batch())
