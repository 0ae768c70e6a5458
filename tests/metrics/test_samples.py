from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from bundle.metrics.samples import first_of_each


def test_first_of_each_keeps_the_order_of_first_occurrence() -> None:
    assert first_of_each(torch.tensor([7, 3, 7, 5, 3])).tolist() == [0, 1, 3]


@given(st.lists(st.integers(-3, 3), max_size=30))
def test_first_of_each_agrees_with_a_dictionary(ids: list[int]) -> None:
    expected = sorted({number: place for place, number in reversed(list(enumerate(ids)))}.values())
    assert first_of_each(torch.tensor(ids, dtype=torch.int64)).tolist() == expected
