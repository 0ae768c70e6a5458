"""Blocks on frozen tokens: what is masked stays unseen, what is frozen stays frozen."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from bundle.networks.blocks.patch_masking import PatchMask, PatchMasking
from bundle.networks.encoders.frozen_image import PyramidTokens
from bundle.networks.encoders.image_encoder import TimmEncoder
from bundle.networks.encoders.stacked_transformer import StackedTransformer


def encoder(**options: int) -> StackedTransformer:
    torch.manual_seed(0)
    pyramid = TimmEncoder("resnet18", channels=(8, 8, 16, 16), stem_width=8)
    sizes = {"image_size": 128, "patch_size": 32, "width": 12, "depth": 2, "heads": 3, "mlp": 24}
    return StackedTransformer(PyramidTokens(pyramid), **(sizes | options))


def masked(image: Tensor, network: StackedTransformer) -> tuple[Tensor, PatchMask]:
    mask = PatchMasking(0.75).eval()(len(image), 16, image.device)
    return network.encode_kept(image, network.embed(image), mask), mask


def test_tokens_of_all_patches_and_of_some() -> None:
    network, image = encoder().eval(), torch.randn(2, 1, 128, 128)
    assert network.grid == (4, 4)
    assert network(image).shape == (2, 17, 12)
    assert masked(image, network)[0].shape == (2, 5, 12)


def test_no_removed_pixel_is_seen_and_every_kept_one_is() -> None:
    network, image = encoder().eval(), torch.randn(2, 1, 128, 128)
    tokens, mask = masked(image, network)
    removed = mask.removed.unflatten(1, (4, 4)).repeat_interleave(32, 1).repeat_interleave(32, 2)[:, None]
    altered = image + removed * torch.randn_like(image)
    assert torch.equal(masked(altered, network)[0], tokens)
    kept = image + (1 - removed) * torch.randn_like(image)
    assert (masked(kept, network)[0] - tokens).abs().max() > 1e-4
    assert (network(altered) - network(image)).abs().max() > 1e-4


def test_order_of_kept_patches_is_that_of_the_mask() -> None:
    network, image = encoder().eval(), torch.randn(1, 1, 128, 128)
    everything = torch.arange(16).flip(0)[None]
    mask = PatchMask(everything, everything.argsort(1), torch.zeros(1, 16))
    kept, whole = network.encode_kept(image, network.embed(image), mask), network(image)
    torch.testing.assert_close(kept[:, 1:].flip(1), whole[:, 1:])
    torch.testing.assert_close(kept[:, 0], whole[:, 0])


def test_gradients_reach_the_blocks_and_not_the_frozen_network() -> None:
    network = encoder().train()
    before = {name: value.clone() for name, value in network.frozen.state_dict().items()}
    network(torch.randn(2, 1, 128, 128)).square().sum().backward()
    assert all(p.grad is None for p in network.frozen.parameters())
    trained = {name: p for name, p in network.named_parameters() if not name.startswith("frozen.")}
    assert [name for name, p in trained.items() if p.grad is None] == []
    for name, value in network.frozen.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_sizes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="patches divide the image"):
        encoder(patch_size=30)
    with pytest.raises(ValueError, match="gives 16 positions for an image of 128 px, and 64 were expected"):
        encoder(patch_size=16)(torch.zeros(1, 1, 128, 128))
