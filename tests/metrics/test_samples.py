from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bundle.metrics.samples import Samples, first_of_each, ratio, value_of


def test_first_of_each_keeps_the_order_of_first_occurrence() -> None:
    assert first_of_each(torch.tensor([7, 3, 7, 5, 3])).tolist() == [0, 1, 3]


@given(st.lists(st.integers(-3, 3), max_size=30))
def test_first_of_each_agrees_with_a_dictionary(ids: list[int]) -> None:
    expected = sorted({number: place for place, number in reversed(list(enumerate(ids)))}.values())
    assert first_of_each(torch.tensor(ids, dtype=torch.int64)).tolist() == expected


def test_a_resample_repeats_items() -> None:
    samples = Samples(torch.tensor([1.0, 2.0, 6.0]), torch.arange(3))
    weights = np.array([[1, 1, 1], [0, 3, 0], [2, 0, 1], [0, 0, 0]])
    values = samples.resampled(weights)
    assert values[:3] == pytest.approx([3, 2, 8 / 3])
    assert math.isnan(values[3])
    assert value_of(samples) == 3


def test_the_value_of_nothing_is_undefined() -> None:
    assert math.isnan(value_of(Samples(torch.zeros(0), torch.zeros(0, dtype=torch.int64))))


def test_ratio_broadcasts_and_knows_no_quotient_of_zero() -> None:
    assert ratio(np.array([[1], [4]]), np.array([2, 0])).tolist()[1][0] == 2
    assert np.isnan(ratio(np.array([[1], [4]]), np.array([2, 0]))[:, 1]).all()
