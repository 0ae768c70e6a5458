"""Masks of patches: how many, that order is restored, and that nothing is asked of a device."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bundle.networks.blocks.patch_masking import PatchMasking

CPU = torch.device("cpu")


def test_published_numbers() -> None:
    mask = PatchMasking()(3, 324, CPU)
    assert mask.keep.shape == (3, 81)
    assert mask.removed.mean(1).tolist() == [0.75] * 3
    assert not torch.equal(mask.removed[0], mask.removed[1])


@given(st.integers(2, 60), st.floats(0.05, 0.95), st.booleans())
def test_kept_and_removed_fall_into_their_places(patches: int, share: float, training: bool) -> None:
    kept = int(patches * (1 - share))
    masking = PatchMasking(share).train(training)
    if not 0 < kept < patches:
        with pytest.raises(ValueError, match="enlarge the image or change the share"):
            masking(2, patches, CPU)
        return
    mask = masking(2, patches, CPU)
    for row in range(2):
        seen = set(mask.keep[row].tolist())
        assert len(seen) == kept
        assert mask.removed[row].tolist() == [float(patch not in seen) for patch in range(patches)]
        assert mask.restore[row][mask.keep[row]].tolist() == list(range(kept))
        assert sorted(mask.restore[row].tolist()) == list(range(patches))


def test_shuffled_and_restored_is_the_same() -> None:
    tokens = torch.randn(2, 17, 3)
    mask = PatchMasking(0.5)(2, 16, CPU)
    selected = mask.select(tokens)
    assert torch.equal(selected[:, 0], tokens[:, 0])
    filled = torch.cat([selected[:, 1:], torch.full((2, 8, 3), -9.0)], 1)
    restored = filled.gather(1, mask.restore[..., None].expand(-1, -1, 3))
    expected = torch.where(mask.removed[..., None] == 1, -9.0, tokens[:, 1:])
    assert torch.equal(restored, expected)


def test_every_patch_is_removed_as_often() -> None:
    torch.manual_seed(0)
    mask = PatchMasking()(4000, 16, CPU)
    torch.testing.assert_close(mask.removed.mean(0), torch.full((16,), 0.75), rtol=0, atol=0.03)


def test_evaluation_repeats_without_touching_the_generator() -> None:
    masking = PatchMasking().eval()
    torch.manual_seed(1)
    first, after = masking(2, 16, CPU), torch.rand(1)
    torch.manual_seed(1)
    assert torch.equal(torch.rand(1), after)
    assert torch.equal(first.keep, masking(2, 16, CPU).keep)
    assert not torch.equal(masking.train()(2, 16, CPU).keep, masking(2, 16, CPU).keep)


def test_nothing_needs_the_values_of_a_tensor() -> None:
    mask = PatchMasking()(2, 16, torch.device("meta"))
    assert mask.select(torch.zeros(2, 17, 3, device="meta")).shape == (2, 5, 3)


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, float("nan")])
def test_impossible_shares_are_refused(share: float) -> None:
    with pytest.raises(ValueError, match="must lie between 0 and 1"):
        PatchMasking(share)
