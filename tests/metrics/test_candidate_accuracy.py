from __future__ import annotations

import math

import pytest
import torch

from bundle.metrics.candidate_accuracy import CandidateAccuracy

SCORES = torch.tensor(
    [
        [2.0, 1.0, 0.0],  # right
        [1.0, 2.0, -math.inf],  # wrong, of two
        [1.0, 1.0, 0.0],  # right with probability 1/2
        [0.0, 0.0, 0.0],  # 1/3
        [5.0, -math.inf, -math.inf],  # nothing to choose
        [math.nan, 1.0, 0.0],  # wrong
    ]
)


def measured(rows: list[list[int]]) -> CandidateAccuracy:
    metric = CandidateAccuracy()
    for part in rows:
        metric({"candidate_scores": SCORES[part]}, {"index": torch.tensor(part)})
    return metric


def test_values() -> None:
    metric = measured([[0, 1, 2, 3, 4, 5]])
    result = metric.aggregate()
    assert result["candidate_accuracy"] == pytest.approx((1 + 0 + 1 / 2 + 1 / 3 + 0) / 5)
    assert result["candidate_accuracy_chance"] == pytest.approx((1 / 3 + 1 / 2 + 1 / 3 + 1 / 3 + 1 / 3) / 5)
    assert metric.samples()["candidate_accuracy"].index.tolist() == [0, 1, 2, 3, 5]


def test_batches_and_repeated_images_do_not_matter() -> None:
    expected = measured([[0, 1, 2, 3, 4, 5]]).aggregate()
    assert measured([[5, 3], [1, 0, 2, 4], [3]]).aggregate() == expected


def test_equal_scores_are_at_chance() -> None:
    metric = CandidateAccuracy()
    metric({"candidate_scores": torch.zeros(50, 16)}, {"index": torch.arange(50)})
    result = metric.aggregate()
    assert result["candidate_accuracy"] == pytest.approx(result["candidate_accuracy_chance"]) == pytest.approx(1 / 16)


def test_without_anything_to_choose_nothing_is_defined() -> None:
    assert measured([[4]]).aggregate() == {}
