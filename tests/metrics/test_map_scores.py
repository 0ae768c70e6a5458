from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from sklearn.metrics import average_precision_score

from bundle.metrics.map_scores import (
    LEVELS,
    contrast_to_noise,
    pixel_precision_of,
    pointed_at,
    pointed_side,
    value_counts,
)

NAN = math.nan


def at(*places: tuple[int, int], shape: tuple[int, int] = (2, 3)) -> torch.Tensor:
    mask = torch.zeros(shape, dtype=torch.bool)
    for place in places:
        mask[place] = True
    return mask


def test_pointing_is_a_hit_where_any_highest_place_is_in_the_truth() -> None:
    values = torch.tensor([[0.1, 0.7, 0.2], [0.7, 0.3, 0.7 - 1e-7]])
    for place in [(0, 1), (1, 0), (1, 2)]:  # the last one is equal up to rounding
        assert pointed_at(values, at(place))
        assert pointed_at(values, at(place, (0, 0)))
    assert not pointed_at(values, at((0, 0), (0, 2), (1, 1)))
    assert not pointed_at(values, at())


def test_ties_do_not_depend_on_where_they_stand() -> None:
    values, truth = torch.tensor([[0.5, 0.5, 0.1], [0.2, 0.5, 0.1]]), at((1, 1))
    for axes in [(0,), (1,), (0, 1)]:
        assert pointed_at(values.flip(axes), truth.flip(axes))


def test_padding_is_no_place() -> None:
    values = torch.tensor([[NAN, 0.2, 0.1], [NAN, 0.1, 0.1]])
    assert pointed_at(values, at((0, 1)))
    assert not pointed_at(values, at((0, 0), (1, 0), (1, 1)))


@pytest.mark.parametrize("values", [torch.zeros(2, 3), torch.full((2, 3), -0.4), torch.tensor([[0.5, NAN, 0.5]] * 2)])
def test_flat_map_points_nowhere(values: torch.Tensor) -> None:
    assert not pointed_at(values, at((0, 0), (1, 2)))
    assert not pointed_side(values, at((0, 0)))


def test_side_is_that_of_the_centre_of_the_truth() -> None:
    values = torch.tensor([[0.0, 0.0, 0.0, 0.9], [0.0, 0.0, 0.0, 0.0]])
    right, left = at((1, 2), shape=(2, 4)), at((1, 1), (0, 0), shape=(2, 4))
    assert pointed_side(values, right)
    assert not pointed_side(values, left)
    assert pointed_side(values.flip(1), left)
    # Of the last three columns the middle one is the line itself.
    shown = torch.tensor([[NAN, 0.0, 0.0, 0.9], [NAN, 0.0, 0.0, 0.0]])
    assert not pointed_side(shown, right)
    assert pointed_side(shown, at((0, 3), shape=(2, 4)))


def test_contrast_to_noise_by_hand() -> None:
    inside, outside = torch.tensor([0.6, 0.4]), torch.tensor([0.1, 0.3, 0.1, 0.3])
    assert contrast_to_noise(inside, outside).item() == pytest.approx(0.3 / math.sqrt(0.01 + 0.01))
    assert contrast_to_noise(outside, inside).item() == pytest.approx(0.3 / math.sqrt(0.02))
    flat = torch.full((3,), 0.3)
    assert contrast_to_noise(flat, flat).item() == 0
    assert contrast_to_noise(flat, flat[:0]).isnan()


@given(arrays.arrays(np.int8, st.integers(2, 30), elements=st.integers(-5, 5)), st.data())
def test_precision_is_that_of_scikit_learn_with_ties(scores: np.ndarray, data: st.DataObject) -> None:
    count = data.draw(st.integers(1, len(scores)))
    values = torch.from_numpy(scores / 10)
    expected = average_precision_score(np.arange(len(scores)) < count, scores)
    assert pixel_precision_of(values[:count], values[count:]) == pytest.approx(expected)


@given(arrays.arrays(np.float32, st.integers(1, 40), elements=st.floats(-1, 1, width=32)))
def test_levels_count_what_is_above_each_threshold(values: np.ndarray) -> None:
    counts = value_counts(torch.from_numpy(values))
    assert counts.sum() == len(values)
    for level in (1, LEVELS // 2, LEVELS, LEVELS + 200, 2 * LEVELS - 1):
        # Thresholds that no float32 stands at: ties with one are a matter of rounding.
        above = values.astype(np.float64) - (level / LEVELS - 1)
        if np.abs(above).min() > 1e-7:
            assert counts[level:].sum() == (above > 0).sum()


def test_value_at_a_threshold_is_not_above_it() -> None:
    counts = value_counts(torch.tensor([0.5, 0.25, -1.0, 1.0, 1.0000001], dtype=torch.float64))
    assert counts[int(1.5 * LEVELS) :].sum() == 2
    assert counts[int(1.25 * LEVELS) :].sum() == 3
    assert counts[-1] == 2
    assert counts[0] == 1
