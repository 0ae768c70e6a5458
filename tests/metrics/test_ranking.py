from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from bundle.metrics.ranking import AreaUnderCurve, AveragePrecision, Ranking
from bundle.metrics.samples import value_of

FUNCTIONS = [(AreaUnderCurve, roc_auc_score), (AveragePrecision, average_precision_score)]
both = pytest.mark.parametrize(("metric", "reference"), FUNCTIONS, ids=["auc", "ap"])

# Whole numbers make ties; the others are as close as numbers get.
SCORES = st.one_of(st.integers(-2, 2).map(float), st.floats(-1e300, 1e300), st.sampled_from([1.0, 1 + 2**-52, np.inf]))
ITEMS = st.lists(st.tuples(SCORES, st.booleans(), st.integers(0, 4)), min_size=1, max_size=25)


def ranking(scores: np.ndarray, labels: np.ndarray) -> Ranking:
    return Ranking.of(scores, labels, torch.arange(len(scores)))


def columns(items: list[tuple[float, bool, int]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    scores, labels, weights = map(np.array, zip(*items, strict=True))
    return np.nan_to_num(scores, posinf=1.5e300), labels, weights


def test_area_by_hand() -> None:
    # Positives .9 and .4 against negatives .5, .4, .1: won 3 of 3, then 1 and a half of 3.
    scores, labels = np.array([0.5, 0.9, 0.4, 0.4, 0.1]), np.array([False, True, True, False, False])
    assert value_of(AreaUnderCurve(ranking(scores, labels))) == 4.5 / 6


def test_average_precision_by_hand() -> None:
    # The positive .9 is first: 1 of 1. The positive .4 shares its place with a negative: 2 of 4.
    scores, labels = np.array([0.5, 0.9, 0.4, 0.4, 0.1]), np.array([False, True, True, False, False])
    assert value_of(AveragePrecision(ranking(scores, labels))) == (1 + 2 / 4) / 2


@both
@given(items=ITEMS)
@settings(deadline=None, max_examples=150)
def test_agrees_with_scikit_learn(metric, reference, items) -> None:
    scores, labels, _ = columns(items)
    value = value_of(metric(ranking(scores, labels)))
    if not labels.any() or (labels.all() and metric is AreaUnderCurve):
        assert np.isnan(value)
    else:
        assert value == pytest.approx(reference(labels, scores), abs=1e-12)


@both
@given(items=ITEMS)
@settings(deadline=None, max_examples=150)
def test_weights_are_those_of_scikit_learn_and_repeated_rows(metric, reference, items) -> None:
    scores, labels, weights = columns(items)
    value = metric(ranking(scores, labels)).resampled(weights[None])[0]
    rows = np.repeat(np.arange(len(scores)), weights)
    repeated = labels[rows]
    if not repeated.any() or (repeated.all() and metric is AreaUnderCurve):
        assert np.isnan(value)
        return
    assert value == pytest.approx(reference(repeated, scores[rows]), abs=1e-12)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert value == pytest.approx(reference(labels, scores, sample_weight=weights), abs=1e-12)
    assert value_of(metric(ranking(scores[rows], repeated))) == pytest.approx(value, abs=1e-15)


@both
def test_many_resamples_are_those_one_by_one(metric, reference) -> None:
    generator = np.random.default_rng(0)
    labels = generator.random(400) < 0.1
    scores = (generator.normal(size=400) + labels).round(1)
    weights = generator.multinomial(400, np.full(400, 1 / 400), size=50)
    values = metric(ranking(scores, labels)).resampled(weights)
    expected = [reference(labels, scores, sample_weight=row) for row in weights]
    assert values == pytest.approx(expected, abs=1e-12)


def test_equal_scores_win_half_and_no_more() -> None:
    labels = np.array([True, False, False, True, False])
    constant = ranking(np.full(5, 0.3), labels)
    assert value_of(AreaUnderCurve(constant)) == 0.5
    assert value_of(AveragePrecision(constant)) == 2 / 5
