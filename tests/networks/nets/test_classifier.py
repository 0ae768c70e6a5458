"""The linear classifier: values, gradients, precision."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from bundle.networks.encoders.image_encoder import ImageEncoder, TimmEncoder
from bundle.networks.nets.classifier import Classifier

NARROW: dict[str, Any] = {"channels": (8, 16, 24, 32)}
ENCODERS = [("resnet18", NARROW), ("vit_tiny_patch16_224", {"img_size": 64, "depth": 3}), ("convnext_atto", {})]


class Ramp(ImageEncoder):
    """Maps that are known: the image's mean at every stride 2 cell, and, halved again, that and its negative."""

    channels, strides = (1, 2), (2, 4)

    def maps(self, x: torch.Tensor) -> list[torch.Tensor]:
        fine = torch.nn.functional.avg_pool2d(x, 2)
        coarse = torch.nn.functional.avg_pool2d(fine, 2)
        return [fine, torch.cat([coarse, -coarse], 1)]


def test_features_are_the_average_of_the_last_map() -> None:
    network = Classifier(Ramp(), classes=3)
    image = torch.arange(16.0).reshape(1, 1, 4, 4)
    assert network.features(image).tolist() == [[7.5, -7.5]]
    with torch.no_grad():
        network.head.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 2.0], [1.0, 1.0]]))
        network.head.bias.copy_(torch.tensor([0.5, 0.0, -1.0]))
    assert network(image).tolist() == [[8.0, -15.0, -1.0]]


@pytest.mark.parametrize(("name", "options"), ENCODERS)
def test_every_trained_parameter_gets_a_gradient(name: str, options: dict[str, Any]) -> None:
    network = Classifier(TimmEncoder(name, **options), classes=2).train()
    network(torch.randn(2, 1, 64, 64)).square().sum().backward()
    assert [n for n, p in network.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize(("name", "options"), ENCODERS)
def test_logits_are_the_head_over_the_features(name: str, options: dict[str, Any]) -> None:
    network = Classifier(TimmEncoder(name, **options), classes=2)
    image = torch.randn(2, 1, 64, 64)
    with torch.no_grad():
        for frozen in (network.eval(), network.freeze(["image_encoder"]).train()):
            assert torch.equal(frozen(image), frozen.head(frozen.features(image)))


def test_maps_that_are_not_read_change_no_gradient() -> None:
    torch.manual_seed(0)
    network = Classifier(TimmEncoder("resnet18", **NARROW), classes=2).train()
    network.image_encoder.eval()
    image = torch.randn(2, 1, 64, 64)
    gradients = []
    for logits in (network(image), network.head(network.features(image))):
        network.zero_grad()
        logits.square().sum().backward()
        gradients.append([p.grad.clone() for p in network.parameters()])
    for one, two in zip(*gradients, strict=True):
        torch.testing.assert_close(one, two)


def test_a_frozen_encoder_leaves_the_head() -> None:
    network = Classifier(TimmEncoder("resnet18", **NARROW), classes=2).freeze(["image_encoder"]).train()
    network(torch.randn(2, 1, 64, 64)).sum().backward()
    assert {n for n, p in network.named_parameters() if p.grad is not None} == {"head.weight", "head.bias"}


def test_features_and_logits_stay_fp32_under_autocast() -> None:
    torch.manual_seed(0)
    network = Classifier(TimmEncoder("resnet18", **NARROW), classes=2).eval()
    image = torch.randn(8, 1, 64, 64)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        features, logits = network.features(image), network(image)
    assert features.dtype == logits.dtype == torch.float32
    assert torch.equal(logits, network.head(features))
    assert not torch.equal(logits, logits.bfloat16().float())


def test_nothing_needs_the_values_of_a_tensor() -> None:
    network = Classifier(TimmEncoder("resnet18", **NARROW), classes=2).train().to("meta")
    logits = network(torch.zeros(2, 1, 64, 64, device="meta"))
    logits.sum().backward()
    assert logits.is_meta
