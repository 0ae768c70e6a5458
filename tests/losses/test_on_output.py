"""A loss of one output among several."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from bundle.losses.answers import AnswerLoss
from bundle.losses.on_label import OnLabel
from bundle.losses.on_output import OnOutput
from bundle.losses.weighted_sum import WeightedSum


def test_each_term_reads_its_own_output() -> None:
    torch.manual_seed(0)
    output = {"logits": torch.randn(3, 4), "question_only_logits": torch.randn(3, 4)}
    target = {"label": torch.eye(3, 4)}
    terms = {"own": OnOutput("logits", AnswerLoss()), "control": OnOutput("question_only_logits", AnswerLoss())}
    loss = WeightedSum(terms)
    total = loss(output, target)
    assert loss.last["own"] == AnswerLoss()(output["logits"], target)
    assert loss.last["control"] == AnswerLoss()(output["question_only_logits"], target)
    assert total.item() == pytest.approx(sum(value.item() for value in loss.last.values()))


def test_losses_of_libraries_are_taken_too() -> None:
    logits, label = torch.tensor([[2.0, 0.0]]), torch.tensor([0])
    loss = OnOutput("logits", OnLabel(nn.CrossEntropyLoss()))
    torch.testing.assert_close(loss({"logits": logits}, {"label": label}), -logits.log_softmax(1)[0, 0])
