from __future__ import annotations

from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bundle.networks.blocks.candidate_texts import CandidateTexts


@given(st.lists(st.integers(0, 6), min_size=1, max_size=12), st.integers(1, 14), st.integers(0, 99))
def test_candidates_are_the_own_text_and_different_others(ids: list[int], negatives: int, seed: int) -> None:
    torch.manual_seed(seed)
    candidates = CandidateTexts(negatives).train(len(ids) > negatives)
    numbers, present = candidates(torch.tensor(ids))
    assert numbers.shape == present.shape == (len(ids), 1 + min(negatives, len(ids) - 1))
    assert numbers[:, 0].tolist() == list(range(len(ids)))
    assert present[:, 0].all()
    for own, row, there in zip(ids, numbers.tolist(), present.tolist(), strict=True):
        others = [ids[number] for number, here in zip(row, there, strict=True) if here][1:]
        assert own not in others
        assert len(set(others)) == len(others) == min(negatives, len(set(ids)) - 1)


def test_all_others_are_equally_likely() -> None:
    torch.manual_seed(0)
    candidates, drawn = CandidateTexts(2), Counter[int]()
    for _ in range(2000):
        drawn.update(candidates(torch.arange(5))[0][1, 1:].tolist())
    assert set(drawn) == {0, 2, 3, 4}
    assert all(abs(count - 1000) < 120 for count in drawn.values())  # four standard deviations


def test_evaluation_repeats_and_training_does_not() -> None:
    ids = torch.arange(40)
    candidates = CandidateTexts(15)
    assert not torch.equal(candidates(ids)[0], candidates(ids)[0])
    candidates.eval()
    assert torch.equal(candidates(ids)[0], candidates(ids)[0])


def test_what_leaves_nothing_to_choose_from_is_refused() -> None:
    with pytest.raises(ValueError, match=r"one other text or more to choose from, not 0"):
        CandidateTexts(0)
    with pytest.raises(
        ValueError, match=r"batch of 15 pairs has no 15 other texts for an image; raise batch_size above"
    ):
        CandidateTexts(15)(torch.arange(15))
    CandidateTexts(15)(torch.arange(16))
