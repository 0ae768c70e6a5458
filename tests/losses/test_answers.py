"""The loss of answers against the published formula and a hand computation."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from bundle.losses.answers import AnswerLoss


def test_is_the_mean_cross_entropy_times_the_number_of_answers() -> None:
    torch.manual_seed(0)
    logits, label = torch.randn(4, 7), (torch.rand(4, 7) > 0.7).float()
    published = nn.BCEWithLogitsLoss()(logits, label) * 7
    torch.testing.assert_close(AnswerLoss()(logits, {"label": label}), published)


def test_by_hand() -> None:
    logits, label = torch.tensor([[math.log(3), 0.0]]), torch.tensor([[1.0, 0.0]])
    assert AnswerLoss()(logits, {"label": label}).item() == pytest.approx(math.log(4 / 3) + math.log(2))


def test_a_question_without_known_answer_lowers_all() -> None:
    logits = torch.zeros(1, 3, requires_grad=True)
    AnswerLoss()(logits, {"label": torch.zeros(1, 3)}).backward()
    assert logits.grad is not None
    assert logits.grad.tolist() == [[0.5, 0.5, 0.5]]


def test_reduced_precision_is_left() -> None:
    loss = AnswerLoss()(torch.zeros(2, 3, dtype=torch.bfloat16), {"label": torch.eye(2, 3)})
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(3 * math.log(2))
