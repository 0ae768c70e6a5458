from __future__ import annotations

import numpy as np
import pytest
import torch
from torchmetrics.functional.classification import binary_calibration_error

from bundle.metrics.calibration import CalibrationError
from bundle.metrics.samples import value_of


def error(probability: list[float] | np.ndarray, outcome: list[bool] | np.ndarray) -> CalibrationError:
    return CalibrationError(np.asarray(probability), np.asarray(outcome, dtype=bool), torch.arange(len(outcome)))


def test_values_by_hand() -> None:
    # Two items around .9 of which one comes true (gap .4), two around .1 of which none does (gap .1).
    assert value_of(error([0.88, 0.92, 0.08, 0.12], [True, False, False, False])) == pytest.approx(0.25)
    assert value_of(error([0.0, 1.0], [False, True])) == 0
    assert value_of(error([0.0, 1.0], [True, False])) == 1


def test_only_items_of_one_bin_balance_each_other() -> None:
    same = error([0.41, 0.45], [True, False])  # .4 to .4667
    apart = error([0.41, 0.47], [True, False])
    assert value_of(same) == pytest.approx(0.5 - 0.43)
    assert value_of(apart) == pytest.approx((0.59 + 0.47) / 2)


def test_agrees_with_torchmetrics() -> None:
    generator = np.random.default_rng(0)
    probability = generator.random(500)
    outcome = generator.random(500) < probability**2
    expected = binary_calibration_error(torch.tensor(probability), torch.tensor(outcome).long(), n_bins=15)
    assert value_of(error(probability, outcome)) == pytest.approx(float(expected), abs=1e-6)


def test_weights_are_repeated_items() -> None:
    generator = np.random.default_rng(1)
    probability, outcome = generator.random(40), generator.random(40) < 0.5
    weights = generator.integers(0, 4, size=(3, 40))
    values = error(probability, outcome).resampled(weights)
    for value, row in zip(values, weights, strict=True):
        rows = np.repeat(np.arange(40), row)
        assert value == pytest.approx(value_of(error(probability[rows], outcome[rows])), abs=1e-12)
    assert np.isnan(error([0.5], [True]).resampled(np.array([[0]])))
