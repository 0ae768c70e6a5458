from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import ArrayLike

from bundle.metrics import bootstrap
from bundle.metrics.bootstrap import bootstrap_interval


def mean_of(values: ArrayLike) -> tuple[Callable[[np.ndarray], np.ndarray], int]:
    """The statistic and number of items whose bootstrap is that of the mean."""
    numbers = np.asarray(values, dtype=np.float64)
    return lambda weights: weights @ numbers / weights.sum(1), len(numbers)


def test_two_values_reach_from_one_to_the_other() -> None:
    # Of four equally likely resamples one is (0, 0) and one (1, 1): 2.5 % and 97.5 % lie in them.
    assert bootstrap_interval(*mean_of([0.0, 1.0])) == (0.0, 1.0)


def test_a_group_is_drawn_whole_and_weighs_by_its_size() -> None:
    # Resamples of the groups {0, 0, 0} and {1}: means 0 (1/4), 1/4 (1/2: three zeros and a one), 1 (1/4).
    interval = bootstrap_interval(*mean_of([0, 0, 0, 1]), groups=["a", "a", "a", "b"], level=0.4)
    assert interval == (0.25, 0.25)


def test_independent_values_give_the_interval_of_the_normal_distribution() -> None:
    values = np.random.default_rng(1).normal(3.0, 2.0, 400)
    low, high = bootstrap_interval(*mean_of(values), resamples=4000)
    half = 1.96 * values.std() / math.sqrt(400)
    assert low == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert high == pytest.approx(values.mean() + half, abs=0.1 * half)


def test_four_equal_images_a_patient_double_the_width() -> None:
    patients = np.random.default_rng(2).normal(size=200)
    values, groups = np.repeat(patients, 4), np.repeat(np.arange(200), 4)
    low, high = bootstrap_interval(*mean_of(values))
    low_grouped, high_grouped = bootstrap_interval(*mean_of(values), groups)
    assert (high_grouped - low_grouped) / (high - low) == pytest.approx(2.0, rel=0.1)


def test_the_seed_alone_decides_the_draws() -> None:
    statistic = mean_of(np.arange(20.0))
    assert bootstrap_interval(*statistic, seed=3) == bootstrap_interval(*statistic, seed=3)
    assert bootstrap_interval(*statistic, seed=3) != bootstrap_interval(*statistic, seed=4)


def test_names_of_groups_do_not_matter() -> None:
    statistic = mean_of(np.arange(12.0))
    assert bootstrap_interval(*statistic, ["p1", "p2", "p3"] * 4) == bootstrap_interval(*statistic, [1, 2, 3] * 4)


def test_each_resample_draws_as_many_groups_as_there_are() -> None:
    groups = np.array([0, 0, 1, 2, 2, 2])
    seen: list[np.ndarray] = []

    def watch(weights: np.ndarray) -> np.ndarray:
        seen.append(weights)
        return weights.sum(1).astype(np.float64)

    bootstrap_interval(watch, 6, groups, resamples=70)
    weights = np.concatenate(seen)
    assert weights.shape == (70, 6)
    assert (weights[:, [0, 2, 3]].sum(1) == 3).all()
    assert (weights[:, [0, 3, 3]] == weights[:, [1, 4, 5]]).all()


@pytest.mark.parametrize("cells", [1, 40, 97, 10_000])
def test_the_size_of_the_blocks_changes_no_draw(cells: int, monkeypatch: pytest.MonkeyPatch) -> None:
    statistic, groups = mean_of(np.arange(10.0)), [0, 0, 1, 2, 3, 4, 5, 6, 6, 6]
    expected = bootstrap_interval(*statistic, groups, resamples=33)
    monkeypatch.setattr(bootstrap, "_CELLS_AT_ONCE", cells)
    assert bootstrap_interval(*statistic, groups, resamples=33) == expected


def test_undefined_resamples_are_left_out() -> None:
    # Of the items 0, 1, only resamples with item 0 are defined: 1 / weight is 1 (once each) or 1/2 (item 0 twice).
    def reciprocal(weights: np.ndarray) -> np.ndarray:
        return np.where(weights[:, 0] > 0, 1 / np.maximum(weights[:, 0], 1), np.nan)

    assert bootstrap_interval(reciprocal, 2) == (0.5, 1.0)
    nothing = bootstrap_interval(lambda weights: np.full(len(weights), np.nan), 2)
    assert all(math.isnan(bound) for bound in nothing)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40), st.integers(1, 5))
@settings(deadline=None, max_examples=50)
def test_the_interval_lies_within_the_values(values: list[float], size: int) -> None:
    groups = [place // size for place in range(len(values))]
    low, high = bootstrap_interval(*mean_of(values), groups, resamples=50)
    slack = 1e-9 * max(map(abs, values))
    assert min(values) - slack <= low <= high <= max(values) + slack


def test_nothing_to_draw_from_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one item"):
        bootstrap_interval(*mean_of([]))


def test_groups_of_another_length_are_refused() -> None:
    with pytest.raises(ValueError, match="3 items but 2 groups"):
        bootstrap_interval(*mean_of([1, 2, 3]), groups=["a", "b"])
