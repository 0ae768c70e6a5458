"""M3AE's fusion in an Answerer: the same joint vector as in pre-training, from the same tensors."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from m3ae_parts import BERT, batch, small

from bundle.networks.blocks.answer_head import AnswerHead
from bundle.networks.blocks.joining_attention import JoiningAttention
from bundle.networks.encoders.image_encoder import TimmEncoder
from bundle.networks.encoders.text_encoder import TextEncoder
from bundle.networks.encoders.vision_transformer import VisionTransformer
from bundle.networks.nets.answerer import Answerer
from bundle.networks.nets.m3ae import M3AE


def answerer_of(before: M3AE) -> Answerer:
    """An Answerer with the weights of an M3AE."""
    image = VisionTransformer(image_size=32, patch_size=8, width=12, depth=2, heads=3, mlp=24)
    text = TextEncoder(BERT, freeze_layers=0, freeze_embeddings=False, pooling="tokens")
    fusion = JoiningAttention(16, 12, width=20, steps=4, heads=4, mlp=24, dropout=0.0)
    network = Answerer(image, text, fusion, AnswerHead(fusion.joint_width, 3))
    for name in ("image_encoder", "text_encoder", "fusion"):
        getattr(network, name).load_state_dict(getattr(before, name).state_dict())
    return network


def given(*names: str) -> Any:
    made = batch()
    return tuple(made[name] for name in names)


def test_joint_vector_is_that_of_pre_training() -> None:
    before = small().eval()
    network = answerer_of(before).eval()
    image, ids, mask = given("image", "input_ids", "attention_mask")
    with torch.no_grad():
        joint = before.fusion.pooled(before.encode_text(ids, mask), before.encode_image(image), mask == 0)
        torch.testing.assert_close(network(image, ids, mask)["logits"], network.head(joint))


def test_every_parameter_gets_a_gradient() -> None:
    network = answerer_of(small()).train()
    network(*given("image", "input_ids", "attention_mask"))["logits"].square().sum().backward()
    assert [name for name, parameter in network.named_parameters() if parameter.grad is None] == []


@pytest.mark.parametrize("size", [32, 48, 56])
def test_other_image_sizes_take_interpolated_positions(size: int) -> None:
    network = answerer_of(small()).eval()
    ids, mask = given("input_ids", "attention_mask")
    torch.manual_seed(1)
    image = torch.randn(len(ids), 1, size, size)
    with torch.no_grad():
        logits = network(image, ids, mask)["logits"]
        assert logits.shape == (len(ids), 3)
        assert not torch.allclose(network(image.flip(-1), ids, mask)["logits"], logits, atol=1e-5)


def test_any_encoder_can_be_joined_so() -> None:
    """A network of maps gives its mean as the first token."""
    torch.manual_seed(0)
    maps = TimmEncoder("resnet18", channels=(8, 8, 16, 16), stem_width=8)
    text = TextEncoder(BERT, freeze_layers=0, freeze_embeddings=False, pooling="tokens")
    fusion = JoiningAttention(16, 16, width=20, steps=1, heads=4, mlp=24, dropout=0.0)
    network = Answerer(maps, text, fusion, AnswerHead(fusion.joint_width, 3)).eval()
    _, ids, mask = given("image", "input_ids", "attention_mask")
    image = torch.randn(len(ids), 1, 64, 96)
    with torch.no_grad():
        cells = maps(image)[-1].flatten(2).transpose(1, 2)
        tokens = fusion.images(torch.cat([cells.mean(1, keepdim=True), cells], 1))
        joint = fusion.pooled(fusion.texts(text(ids, mask)), tokens, mask == 0)
        torch.testing.assert_close(network(image, ids, mask)["logits"], network.head(joint))
