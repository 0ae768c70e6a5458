"""The masked-image decoder: positions by the formula, order of patches, and targets by hand."""

from __future__ import annotations

import math

import pytest
import torch

from bundle.networks.blocks.masked_image_decoder import MaskedImageDecoder, patch_targets
from bundle.networks.blocks.patch_masking import PatchMasking


def decoder() -> MaskedImageDecoder:
    torch.manual_seed(0)
    return MaskedImageDecoder(10, (2, 3), patch_size=4, channels=1, width=16, depth=2, heads=4, mlp=24).eval()


def test_positions_by_the_formula() -> None:
    positions = decoder().positions[0]
    assert not positions[0].any()
    for row in range(2):
        for column in range(3):
            frequencies = [10000 ** (-i / 4) for i in range(4)]
            halves = [[wave(axis * f) for wave in (math.sin, math.cos) for f in frequencies] for axis in (column, row)]
            got = positions[1 + 3 * row + column].tolist()
            assert got == pytest.approx(halves[0] + halves[1], abs=1e-6)
    assert "positions" not in decoder().state_dict()


def test_order_in_which_patches_were_kept_does_not_matter() -> None:
    network, tokens = decoder(), torch.randn(1, 4, 10)
    restore = torch.tensor([[2, 3, 0, 4, 1, 5]])  # patches 2, 4, 0 were kept
    again = torch.tensor([[0, 3, 1, 4, 2, 5]])  # the same, as 0, 2, 4
    torch.testing.assert_close(network(tokens, restore), network(tokens[:, [0, 3, 1, 2]], again))
    assert network(tokens, restore).shape == (1, 6, 16)


def test_all_removed_patches_start_from_one_token() -> None:
    network, tokens = decoder(), torch.randn(1, 4, 10)
    restore = torch.tensor([[2, 3, 0, 4, 1, 5]])
    swapped = torch.tensor([[2, 5, 0, 3, 1, 4]])
    torch.testing.assert_close(network(tokens, restore), network(tokens, swapped))
    with torch.no_grad():
        network.mask_token += torch.randn(16)
    assert (network(tokens, restore) - decoder()(tokens, restore)).abs().max() > 1e-4


def test_targets_by_hand() -> None:
    image = torch.arange(16.0).reshape(1, 1, 4, 4)
    target = patch_targets(image, 2)
    # The patch at the top right holds 2, 3, 6, 7: mean 4.5, unbiased variance (6.25 + 2.25 + 2.25 + 6.25) / 3.
    expected = [x / math.sqrt(17 / 3 + 1e-6) for x in (-2.5, -1.5, 1.5, 2.5)]
    assert target.shape == (1, 4, 4)
    assert target[0, 1].tolist() == pytest.approx(expected)
    assert target[0, 2].tolist() == pytest.approx(expected)  # 8, 9, 12, 13


def test_colours_come_last_and_flat_patches_stay_finite() -> None:
    image = torch.stack([torch.zeros(2, 2), torch.ones(2, 2), torch.full((2, 2), 2.0)])[None]
    scale = math.sqrt(8 / 11 + 1e-6)  # unbiased variance of four times 0, 1, 2
    assert patch_targets(image, 2)[0, 0].tolist() == pytest.approx([-1 / scale, 0, 1 / scale] * 4)
    assert patch_targets(torch.ones(1, 1, 4, 4), 2).abs().max() == 0


def test_what_does_not_fit_is_refused() -> None:
    mask = PatchMasking()(1, 16, torch.device("cpu"))
    with pytest.raises(ValueError, match="built for 6 patches and got 16"):
        decoder()(torch.zeros(1, 5, 10), mask.restore)
    with pytest.raises(ValueError, match="4 and heads divide it"):
        MaskedImageDecoder(10, (2, 2), width=18, heads=3)
