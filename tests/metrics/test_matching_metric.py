"""How well pairs are told from strangers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor

from bundle.metrics.matching import MatchingMetric

LOGITS = [2.0, -1.0, 0.5, 0.5, -3.0, 9.0]
LABELS = [1.0, 1.0, 0.0, 1.0, 0.0, float("nan")]


def prediction(rows: list[int]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    logits, labels = torch.tensor(LOGITS)[rows], torch.tensor(LABELS)[rows]
    return {"matching_logits": logits, "matching_label": labels}, {"index": torch.tensor(rows)}


@pytest.mark.parametrize("batches", [[[0, 1, 2, 3, 4, 5]], [[5, 3], [4, 2, 1, 0]], [[0, 1, 2], [5, 4, 3], [0]]])
def test_hand_computed(batches: list[list[int]]) -> None:
    """Whatever the batches; texts that were not judged are left out, and a text that comes twice counts once."""
    metric = MatchingMetric()
    for rows in batches:
        metric(*prediction(rows))
    # Right: 0, 3 and 4. Of 3 x 2 comparisons pair 0 wins two, pair 3 wins one and ties one, pair 1 wins one.
    assert metric.aggregate() == {"matching_accuracy": pytest.approx(3 / 5), "matching_auc": pytest.approx(4.5 / 6)}
    assert metric.aggregate()["matching_auc"] == pytest.approx(roc_auc_score(LABELS[:5], LOGITS[:5]))


def test_a_bootstrap_draws_judged_texts() -> None:
    metric = MatchingMetric()
    metric(*prediction([5, 4, 3, 2, 1, 0]))
    metric.aggregate()
    samples = metric.samples()
    assert samples["matching_accuracy"].index.tolist() == samples["matching_auc"].index.tolist() == [0, 1, 2, 3, 4]
    drawn = np.array([[1, 0, 2, 0, 0], [0, 0, 0, 5, 0]])
    np.testing.assert_allclose(samples["matching_accuracy"].resampled(drawn), [1 / 3, 1])
    np.testing.assert_allclose(samples["matching_auc"].resampled(drawn), [1, np.nan])


def test_what_cannot_be_ranked_has_no_area() -> None:
    metric = MatchingMetric()
    metric(*prediction([0, 1, 5]))
    assert metric.aggregate() == {"matching_accuracy": 0.5}
    metric.reset()
    metric(*prediction([5]))
    assert metric.aggregate() == {}


def test_what_is_no_number_is_refused() -> None:
    metric = MatchingMetric()
    given, target = prediction([0, 1])
    given["matching_logits"][1] = float("nan")
    metric(given, target)
    with pytest.raises(ValueError, match=r"prediction of item 1 .* is not a number"):
        metric.aggregate()
