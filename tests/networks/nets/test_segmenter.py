"""The U-Net of the segmentation stage: shapes, names, gradients."""

from __future__ import annotations

import pytest
import torch

from bundle.networks.blocks.unet import PyramidDecoder
from bundle.networks.encoders.image_encoder import TimmEncoder
from bundle.networks.nets.segmenter import Segmenter


def tiny(classes: int = 1) -> Segmenter:
    torch.manual_seed(0)
    encoder = TimmEncoder("resnet18", channels=(8, 16, 24, 32), out_indices=(0, 1, 2, 3))
    return Segmenter(encoder, PyramidDecoder(encoder.channels, encoder.strides, (16, 8, 8, 4), out_channels=classes))


@pytest.mark.parametrize("classes", [1, 3])
def test_one_logit_map_a_class_at_full_resolution(classes: int) -> None:
    logits = tiny(classes)(torch.randn(2, 1, 64, 96))
    assert isinstance(logits, torch.Tensor)
    assert logits.shape == (2, classes, 64, 96)


def test_tensors_bear_the_names_of_pretraining() -> None:
    assert {name.split(".")[0] for name in tiny().state_dict()} == {"image_encoder", "decoder"}


def test_every_parameter_gets_a_gradient() -> None:
    network = tiny(2)
    logits = network(torch.randn(2, 1, 64, 64))
    (logits * torch.randn_like(logits)).sum().backward()
    assert [name for name, p in network.named_parameters() if p.grad is None] == []


def test_with_a_frozen_encoder_the_decoder_is_trained_alone() -> None:
    network = tiny().freeze(["image_encoder"]).train()
    network(torch.randn(2, 1, 64, 64)).square().mean().backward()
    trained = {name.split(".")[0] for name, p in network.named_parameters() if p.grad is not None}
    assert trained == {"decoder"}
    assert [m for m in network.image_encoder.modules() if m.training] == []
    assert network.decoder.training
