from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score, matthews_corrcoef

from bundle.metrics.samples import value_of
from bundle.metrics.threshold import accuracy_samples, best_f1_threshold, best_mcc_threshold, f1_samples

ITEMS = st.lists(st.tuples(st.integers(-3, 3).map(float), st.booleans()), min_size=1, max_size=20)


def test_f1_and_accuracy_by_hand() -> None:
    predicted, labels = np.array([True, True, True, False, False]), np.array([True, False, True, True, False])
    index = torch.arange(5)
    f1, accuracy = f1_samples(predicted, labels, index), accuracy_samples(predicted, labels, index)
    assert value_of(f1) == 4 / 6
    assert value_of(accuracy) == 3 / 5
    weights = np.array([[2, 1, 0, 0, 1], [0, 0, 0, 0, 3]])
    assert f1.resampled(weights)[0] == 4 / 5
    assert np.isnan(f1.resampled(weights)[1])
    assert accuracy.resampled(weights).tolist() == [3 / 4, 1]


@given(ITEMS)
@settings(deadline=None, max_examples=100)
def test_f1_agrees_with_scikit_learn(items: list[tuple[float, bool]]) -> None:
    scores, labels = map(np.array, zip(*items, strict=True))
    expected = f1_score(labels, scores > 0, zero_division=np.nan)
    assert value_of(f1_samples(scores > 0, labels, torch.arange(len(labels)))) == pytest.approx(expected, nan_ok=True)


def test_the_best_threshold_by_hand() -> None:
    scores, labels = np.array([0.1, 0.4, 0.35, 0.8]), np.array([False, True, False, True])
    assert best_f1_threshold(scores, labels) == best_mcc_threshold(scores, labels) == 0.4
    # The four decisions >= 0, .2, .4, .6 have F1 2/5, 1/2, 2/3, 0 and correlations 0, .33, .58, -.33.
    scores, labels = np.array([0.6, 0.4, 0.2, 0.0]), np.array([False, True, False, False])
    assert best_f1_threshold(scores, labels) == best_mcc_threshold(scores, labels) == 0.4


def test_of_equally_good_thresholds_the_lowest_is_taken() -> None:
    scores, labels = np.array([3.0, 2.0, 1.0, 0.0]), np.array([True, False, True, False])
    # F1 at >= 0, 1, 2, 3: 4/6, 4/5, 2/4, 2/3; with the second positive gone: 2/5, 2/4, 2/3, 1.
    assert best_f1_threshold(scores, labels) == 1
    assert best_f1_threshold(np.array([2.0, 1.0, 0.0]), np.array([True, False, True])) == 0  # 4/5, 2/4, 2/3
    assert best_f1_threshold(np.array([4.0, 3, 2, 1, 0]), np.array([1, 0, 0, 1, 0]) == 1) == 1  # 4/6 twice: at 4, at 1


@pytest.mark.parametrize(
    ("choose", "measure"),
    [
        (best_f1_threshold, lambda labels, predicted: f1_score(labels, predicted, zero_division=0)),
        (best_mcc_threshold, matthews_corrcoef),
    ],
    ids=["f1", "mcc"],
)
@given(items=ITEMS.filter(lambda items: any(label for _, label in items)))
@settings(deadline=None, max_examples=60)
def test_no_score_is_a_better_threshold(choose, measure, items) -> None:
    scores, labels = map(np.array, zip(*items, strict=True))
    chosen = choose(scores, labels)
    tried = {threshold: measure(labels, scores >= threshold) for threshold in scores}
    assert chosen in tried
    assert tried[chosen] == pytest.approx(max(tried.values()))


def test_without_positives_there_is_no_threshold() -> None:
    for choose in (best_f1_threshold, best_mcc_threshold):
        with pytest.raises(ValueError, match="without positive items"):
            choose(np.array([0.5]), np.array([False]))
