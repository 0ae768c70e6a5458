from __future__ import annotations

import warnings

import pytest
import torch
from torch.nn import functional as F

from bundle.networks.blocks.unet import PyramidDecoder
from bundle.networks.encoders.image_encoder import TimmEncoder

RESNET50 = ((64, 256, 512, 1024, 2048), (2, 4, 8, 16, 32))


def count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_published_counts() -> None:
    encoder = TimmEncoder("resnet50", in_channels=3)
    decoder = PyramidDecoder(encoder.channels, encoder.strides)
    assert (encoder.channels, encoder.strides) == RESNET50
    assert count(decoder.decoder) == 9_012_928
    assert count(decoder.head) == 145
    assert count(encoder) + count(decoder) == 32_521_105


@pytest.mark.parametrize(
    ("channels", "strides", "blocks"),
    [
        ((8, 16, 24, 32, 40), (2, 4, 8, 16, 32), 5),
        ((8, 16, 24, 32), (2, 4, 8, 16), 4),
        ((8, 16, 24, 32), (4, 8, 16, 32), 5),
        ((8, 16, 24), (4, 8, 16), 4),
        ((8, 16), (16, 32), 5),
    ],
)
def test_logits_have_the_size_of_the_image_and_all_takes_part(
    channels: tuple[int, ...], strides: tuple[int, ...], blocks: int
) -> None:
    decoder = PyramidDecoder(channels, strides, (20, 16, 12, 8, 4), out_channels=3)
    assert len(decoder.decoder.blocks) == blocks
    assert decoder.head.in_channels == 4
    features = [
        torch.randn(2, channel, 64 // stride, 96 // stride, requires_grad=True)
        for channel, stride in zip(channels, strides, strict=True)
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        logits = decoder(features)
    assert logits.shape == (2, 3, 64, 96)
    logits.square().mean().backward()
    assert all(tensor.grad is not None for tensor in (*decoder.parameters(), *features))


def test_a_block_sees_the_skip_and_the_nearest_upsampled_map() -> None:
    decoder = PyramidDecoder((3, 5), (2, 4), (7, 4)).eval()
    fine, coarse = torch.randn(1, 3, 8, 8), torch.randn(1, 5, 4, 4)
    first = decoder.decoder.blocks[0].convs
    joined = torch.cat([fine, coarse.repeat_interleave(2, 2).repeat_interleave(2, 3)], dim=1)
    hidden = F.relu(F.conv2d(joined, first.conv_0.conv.weight, padding=1) / (1 + 1e-5) ** 0.5)
    hidden = F.relu(F.conv2d(hidden, first.conv_1.conv.weight, padding=1) / (1 + 1e-5) ** 0.5)
    last = decoder.decoder.blocks[1].convs
    hidden = hidden.repeat_interleave(2, 2).repeat_interleave(2, 3)
    hidden = F.relu(F.conv2d(hidden, last.conv_0.conv.weight, padding=1) / (1 + 1e-5) ** 0.5)
    hidden = F.relu(F.conv2d(hidden, last.conv_1.conv.weight, padding=1) / (1 + 1e-5) ** 0.5)
    torch.testing.assert_close(decoder([fine, coarse]), decoder.head(hidden), rtol=1e-5, atol=1e-6)


def test_channels_last_gives_the_same() -> None:
    decoder = PyramidDecoder((8, 16, 24), (2, 4, 8), (12, 8, 4)).eval()
    features = [torch.randn(2, 8, 32, 32), torch.randn(2, 16, 16, 16), torch.randn(2, 24, 8, 8)]
    expected = decoder(features)
    decoder.to(memory_format=torch.channels_last)
    logits = decoder([feature.to(memory_format=torch.channels_last) for feature in features])
    torch.testing.assert_close(logits, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("channels", "strides"),
    [((8, 16), (2, 8)), ((8, 16), (16, 16)), ((8, 16), (3, 6)), ((8,), (2, 4)), ((8,), (32,)), ((8, 16), (8, 4))],
)
def test_what_is_no_pyramid_is_refused(channels: tuple[int, ...], strides: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="strides double"):
        PyramidDecoder(channels, strides)


def test_too_few_decoder_channels_are_refused() -> None:
    with pytest.raises(ValueError, match="coarsest stride 32 needs 5 decoder channels, not 4"):
        PyramidDecoder(*RESNET50, decoder_channels=(128, 64, 32, 16))


def test_a_prior_is_the_share_that_a_silent_decoder_marks() -> None:
    decoder = PyramidDecoder(*RESNET50, prior=0.05)
    torch.nn.init.zeros_(decoder.head.weight)
    maps = [torch.rand(1, c, 64 // s, 64 // s) for c, s in zip(*RESNET50, strict=True)]
    torch.testing.assert_close(decoder(maps).sigmoid(), torch.full((1, 1, 64, 64), 0.05))


@pytest.mark.parametrize("prior", [0.0, 1.0, -0.1, 2.0])
def test_a_prior_that_is_no_share_is_refused(prior: float) -> None:
    with pytest.raises(ValueError, match=rf"inside \(0, 1\), not {prior}"):
        PyramidDecoder(*RESNET50, prior=prior)


@pytest.mark.parametrize("strides", [(2, 4, 8, 16, 32), (4, 8, 16)])
def test_the_result_is_that_of_monais_decoder(strides: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    channels = tuple(range(3, 3 + len(strides)))
    network = PyramidDecoder(channels, strides, decoder_channels=(12, 10, 8, 6, 4)).eval()
    features = [torch.randn(2, c, 64 // s, 96 // s) for c, s in zip(channels, strides, strict=True)]
    expected = network.head(network.decoder(features, len(features) - 1))
    torch.testing.assert_close(network(features), expected)
