from __future__ import annotations

import math

import pytest
import torch

from bundle.losses.candidate_ranking import CandidateRankingLoss


def loss(scores: list[list[float]]) -> float:
    return CandidateRankingLoss()({"candidate_scores": torch.tensor(scores)}).item()


def test_values() -> None:
    assert loss([[0.5] * 16] * 3) == pytest.approx(math.log(16))
    # Own text e^1 of e^1 + e^0 + e^0, and of e^0 + e^2.
    expected = (math.log(math.e + 2) - 1 + math.log(1 + math.exp(2))) / 2
    assert loss([[1.0, 0.0, 0.0], [0.0, 2.0, -math.inf]]) == pytest.approx(expected)


def test_an_absent_candidate_has_no_say_and_no_gradient() -> None:
    assert loss([[3.0, -math.inf], [-7.0, -math.inf]]) == 0
    scores = torch.tensor([[1.0, 2.0, 5.0], [3.0, 0.0, 4.0]], requires_grad=True)
    absent = torch.tensor([[False, False, True], [False, True, True]])
    CandidateRankingLoss()({"candidate_scores": scores.masked_fill(absent, -math.inf)}).backward()
    assert scores.grad is not None
    assert scores.grad[absent].tolist() == [0, 0, 0]
    own = 1 / (1 + math.e)
    torch.testing.assert_close(scores.grad[0, :2], torch.tensor([own - 1, 1 - own]) / 2)
    assert scores.grad[1].tolist() == [0, 0, 0]


def test_bf16_scores_are_compared_in_fp32() -> None:
    scores = torch.tensor([[1.0, 0.0]], dtype=torch.bfloat16)
    assert CandidateRankingLoss()({"candidate_scores": scores}).dtype == torch.float32
