"""The two decoders: published totals, shapes, and the networks of segmentation and classification around them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from adaptor_parts import SMALL, image_encoder
from torch import nn

from bundle.networks.blocks.adaptor_decoders import AutoencoderUNet, PatchDecoder
from bundle.networks.blocks.mlp_head import MlpHead
from bundle.networks.blocks.unet import PyramidDecoder
from bundle.networks.encoders.adapted_encoder import AdaptedImage, PooledFeatures
from bundle.networks.encoders.frozen_image import FrozenImage
from bundle.networks.nets.adapted_classifier import AdaptedClassifier
from bundle.networks.nets.adapted_segmenter import AutoencoderSegmenter, PatchSegmenter, PyramidSegmenter
from bundle.networks.nets.adaptor import Adaptor
from bundle.networks.nets.token_adaptor import TokenAdaptor


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def adaptors(encoder: FrozenImage) -> list[nn.Module]:
    torch.manual_seed(0)
    adaptor = Adaptor(encoder.width, 10, **SMALL)
    return [adaptor, TokenAdaptor(encoder.width, 10, **SMALL), PooledFeatures(encoder.width)]


def test_published_totals() -> None:
    with torch.device("meta"):
        assert count(PatchDecoder()) == 10_401_409
        assert count(AutoencoderUNet()) == 20_146_817
        assert count(MlpHead(768, 1)) == 394_753
        assert count(MlpHead(768, 3)) == 395_779


@pytest.mark.parametrize(("grid", "padding", "side"), [(16, 0, 224), (64, 1, 896), (4, 1, 64)])
def test_patches_are_decoded_to_the_images_size(grid: int, padding: int, side: int) -> None:
    with torch.device("meta"):
        decoder = PatchDecoder(24, out_channels=2, padding=padding)
        first = decoder.first(torch.zeros(1, 24, grid, grid))
        logits = decoder(torch.zeros(1, 24, grid, grid), (side, side))
    assert first.shape[-1] == (14 if side == 224 else grid)
    assert logits.shape == (1, 2, side, side)


def test_a_patch_is_decoded_where_it_lies() -> None:
    torch.manual_seed(0)
    decoder = PatchDecoder(8, padding=1).eval()
    patches = torch.randn(1, 8, 8, 16)
    changed = patches.clone()
    changed[:, :, 1, 13] += 5.0
    with torch.no_grad():
        moved = (decoder(changed, (128, 256)) - decoder(patches, (128, 256)))[0, 0].abs()
    assert moved[16:32, 208:224].mean() > 2 * moved.mean()
    reach = 1 + 1 + 2 + 4 + 8 + 16 + 16  # of a 3x3 convolution at each scale, two of them at the coarsest
    assert moved[32 + reach :].max() == moved[:, : 208 - reach].max() == 0


def test_a_size_that_cells_do_not_fill_is_refused() -> None:
    with torch.device("meta"), pytest.raises(ValueError, match="multiples of 16 px, not 100 x 112"):
        PatchDecoder(8)(torch.zeros(1, 8, 7, 7), (100, 112))


@pytest.mark.parametrize(("side", "grown"), [(224, 7), (448, 14), (896, 28)])
def test_the_vector_grows_to_the_image(side: int, grown: int) -> None:
    with torch.device("meta"):
        decoder = AutoencoderUNet(24, out_channels=3, image_size=side)
        channels, strides = (64, 256, 512, 1024), (2, 4, 8, 16)
        maps = [torch.zeros(2, c, side // s, side // s) for c, s in zip(channels, strides, strict=True)]
        vector = torch.zeros(2, 24)
        assert decoder.grow(vector[:, :, None, None]).shape == (2, 512, grown, grown)
        assert decoder(vector, [*maps, torch.zeros(2, 512, 3, 3)]).shape == (2, 3, side, side)
        with pytest.raises(ValueError, match=f"built for images of {side} px"):
            decoder(vector, [map_[..., :-1] for map_ in maps])


@pytest.mark.parametrize("side", [112, 225, 336])
def test_other_sides_have_no_autoencoders_unet(side: int) -> None:
    with torch.device("meta"), pytest.raises(ValueError, match=f"not of {side} px"):
        AutoencoderUNet(image_size=side)


def segmenter(kind: str, which: int) -> tuple[AdaptedImage, int]:
    """A network of segmentation with a side of its images."""
    encoder: Any = image_encoder({"patches": "timm", "autoencoder": "autoencoder", "pyramid": "pyramid"}[kind])
    adaptor: Any = adaptors(encoder)[which]
    if kind == "patches":
        return PatchSegmenter(encoder, adaptor, PatchDecoder(adaptor.width)), 112
    if kind == "autoencoder":
        return AutoencoderSegmenter(encoder, adaptor, AutoencoderUNet(adaptor.width)), 224
    channels = (*encoder.channels[:-1], adaptor.width)
    return PyramidSegmenter(encoder, adaptor, PyramidDecoder(channels, encoder.strides, (16, 8, 8))), 64


@pytest.mark.parametrize(
    ("kind", "which"), [("patches", 0), ("patches", 1), ("patches", 2), ("pyramid", 0), ("pyramid", 2)]
)
def test_only_the_decoder_of_a_segmenter_is_trained(kind: str, which: int) -> None:
    network, side = segmenter(kind, which)
    network.freeze(["image_encoder", "adaptor"]).train()
    logits = network(torch.randn(2, 1, side, side))
    assert logits.shape == (2, 1, side, side)
    logits.square().mean().backward()
    graded = {name.split(".")[0] for name, p in network.named_parameters() if p.grad is not None}
    assert graded == {"decoder"}
    assert [name for name, p in network.named_parameters() if p.requires_grad and p.grad is None] == []
    assert not network.adaptor.training


def test_the_autoencoders_segmenter() -> None:
    network, side = segmenter("autoencoder", 0)
    logits = network.freeze(["image_encoder", "adaptor"]).to("meta")(torch.zeros(2, 1, side, side, device="meta"))
    assert logits.shape == (2, 1, 224, 224)
    assert {
        name for name, p in network.named_parameters() if p.requires_grad and not name.startswith("decoder")
    } == set()


@pytest.mark.parametrize("which", [0, 1, 2])
def test_the_classifier_trains_its_head_alone(which: int) -> None:
    encoder = image_encoder("pyramid")
    adaptor: Any = adaptors(encoder)[which]
    network = (
        AdaptedClassifier(encoder, adaptor, MlpHead(adaptor.width, 3)).freeze(["image_encoder", "adaptor"]).train()
    )
    image = torch.randn(4, 1, 32, 32)
    network(image).square().sum().backward()
    assert {name.split(".")[0] for name, p in network.named_parameters() if p.grad is not None} == {"head"}
    assert torch.equal(network.features(image), network.train().features(image))  # the adaptor's dropout is off
    network.eval()
    torch.testing.assert_close(network(image[2:3])[0], network(image)[2])
    assert torch.equal(network.head(network.features(image)), network(image))


def test_features_without_adaptor_are_the_encoders() -> None:
    encoder = image_encoder("pyramid")
    network = AdaptedImage(encoder, PooledFeatures(encoder.width))
    image = torch.randn(2, 1, 32, 32)
    assert torch.equal(network.features(image), encoder(image)[:, 0])
    assert torch.equal(network.patches(image), encoder.maps(image)[-1])


def test_logits_of_the_head_stay_fp32_under_autocast() -> None:
    head = MlpHead(24, 2).eval()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        logits = head(torch.randn(8, 24))
    assert logits.dtype == torch.float32
    assert not torch.equal(logits, logits.bfloat16().float())
