from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from bundle.transforms.shuffled_masks import ShuffledMasks


def numbered(prediction: dict[str, torch.Tensor], target: dict[str, torch.Tensor]) -> torch.Tensor:
    """A mask whose pixels say whose it is."""
    return target["index"].float()[:, None, None, None].expand(-1, 1, 2, 2)


@given(st.lists(st.integers(0, 2**31), min_size=2, max_size=40, unique=True))
def test_every_mask_goes_to_another_image(numbers: list[int]) -> None:
    index = torch.tensor(numbers)
    passed = ShuffledMasks(numbered)({}, {"index": index})[:, 0, 0, 0]
    assert not (passed == index.float()).any() or len({float(torch.tensor(float(n))) for n in numbers}) < len(numbers)
    assert sorted(passed.tolist()) == sorted(index.float().tolist())


def test_partners_change_with_the_batch_and_not_with_chance() -> None:
    index = torch.arange(64)
    partner = ShuffledMasks(numbered)({}, {"index": index})[:, 0, 0, 0]
    torch.manual_seed(5)
    assert torch.equal(ShuffledMasks(numbered)({}, {"index": index})[:, 0, 0, 0], partner)
    other = torch.cat([torch.arange(32), torch.arange(1000, 1032)])
    changed = ShuffledMasks(numbered)({}, {"index": other})[:32, 0, 0, 0] != partner[:32]
    assert changed.float().mean() > 0.5
    # Batches are sorted by the length of reports: partners are not neighbours there.
    assert ((partner - index).abs() > 3).float().mean() > 0.8


def test_a_single_image_keeps_its_own() -> None:
    assert ShuffledMasks(numbered)({}, {"index": torch.tensor([7])}).unique().tolist() == [7.0]
