from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bundle.metrics.bootstrap import bootstrap_interval


def test_two_values_reach_from_one_to_the_other() -> None:
    # Of four equally likely resamples one is (0, 0) and one (1, 1): 2.5 % and 97.5 % lie in them.
    assert bootstrap_interval([0.0, 1.0]) == (0.0, 1.0)


def test_a_group_is_drawn_whole_and_weighs_by_its_size() -> None:
    # Resamples of the groups {0, 0, 0} and {1}: means 0 (1/4), 1/4 (1/2: three zeros and a one), 1 (1/4).
    interval = bootstrap_interval([0, 0, 0, 1], groups=["a", "a", "a", "b"], level=0.4)
    assert interval == (0.25, 0.25)


def test_independent_values_give_the_interval_of_the_normal_distribution() -> None:
    values = np.random.default_rng(1).normal(3.0, 2.0, 400)
    low, high = bootstrap_interval(values, resamples=4000)
    half = 1.96 * values.std() / math.sqrt(400)
    assert low == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert high == pytest.approx(values.mean() + half, abs=0.1 * half)


def test_four_equal_images_a_patient_double_the_width() -> None:
    patients = np.random.default_rng(2).normal(size=200)
    values, groups = np.repeat(patients, 4), np.repeat(np.arange(200), 4)
    low, high = bootstrap_interval(values)
    low_grouped, high_grouped = bootstrap_interval(values, groups)
    assert (high_grouped - low_grouped) / (high - low) == pytest.approx(2.0, rel=0.1)


def test_the_seed_alone_decides_the_draws() -> None:
    values = np.arange(20.0)
    assert bootstrap_interval(values, seed=3) == bootstrap_interval(values, seed=3)
    assert bootstrap_interval(values, seed=3) != bootstrap_interval(values, seed=4)


def test_names_of_groups_do_not_matter() -> None:
    values = np.arange(12.0)
    assert bootstrap_interval(values, ["p1", "p2", "p3"] * 4) == bootstrap_interval(values, [1, 2, 3] * 4)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40), st.integers(1, 5))
@settings(deadline=None, max_examples=50)
def test_the_interval_lies_within_the_values(values: list[float], size: int) -> None:
    low, high = bootstrap_interval(values, [place // size for place in range(len(values))], resamples=50)
    slack = 1e-9 * max(map(abs, values))
    assert min(values) - slack <= low <= high <= max(values) + slack


@pytest.mark.parametrize("values", [[], [1.0, math.nan], [math.inf]])
def test_values_that_have_no_mean_are_refused(values: list[float]) -> None:
    with pytest.raises(ValueError, match="finite values"):
        bootstrap_interval(values)


def test_groups_of_another_length_are_refused() -> None:
    with pytest.raises(ValueError, match="3 values but 2 groups"):
        bootstrap_interval([1, 2, 3], groups=["a", "b"])
