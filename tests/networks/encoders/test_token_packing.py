from __future__ import annotations

import torch

from bundle.networks.encoders.token_packing import TokenPacking

MASK = torch.tensor([[1, 1, 1, 0], [1, 0, 0, 0], [1, 1, 0, 0]])


def test_tokens_follow_one_another_and_find_their_places_again() -> None:
    padded = torch.arange(24.0).reshape(3, 4, 2)
    packing = TokenPacking(MASK, tokens=6)
    packed = packing.pack(padded)
    assert packed[:, 0].tolist() == [0, 2, 4, 8, 16, 18]
    torch.testing.assert_close(packing.pad(packed), padded * MASK[..., None])
    assert packed[packing.firsts, 0].tolist() == [0, 8, 16]


def test_gradients_go_both_ways() -> None:
    packed = torch.randn(6, 2, dtype=torch.double, requires_grad=True)
    padded = torch.randn(3, 4, 2, dtype=torch.double, requires_grad=True)
    packing = TokenPacking(MASK, tokens=6)
    assert torch.autograd.gradcheck(packing.pad, packed)
    assert torch.autograd.gradcheck(packing.pack, padded)


def test_nothing_is_read_from_the_device() -> None:
    packing = TokenPacking(MASK.to("meta"), tokens=6)
    assert packing.pack(torch.empty(3, 4, 2, device="meta")).shape == (6, 2)
    assert packing.firsts.shape == (3,)
