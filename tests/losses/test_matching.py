from __future__ import annotations

import math

import pytest
import torch

from bundle.losses.matching import MatchingLoss


def test_value_by_hand() -> None:
    prediction = {
        "matching_logits": torch.tensor([2.0, -1.0, 0.5]),
        "matching_label": torch.tensor([1.0, 0.0, 0.0]),
    }
    terms = [math.log1p(math.exp(-2)), math.log1p(math.exp(-1)), math.log1p(math.exp(0.5))]
    assert MatchingLoss()(prediction).item() == pytest.approx(sum(terms) / 3)


def test_what_cannot_be_judged_has_no_say() -> None:
    logits = torch.tensor([2.0, 5.0, -5.0], requires_grad=True)
    loss = MatchingLoss()({"matching_logits": logits, "matching_label": torch.tensor([1.0, math.nan, math.nan])})
    assert loss.item() == pytest.approx(math.log1p(math.exp(-2)))
    loss.backward()
    assert logits.grad.tolist()[1:] == [0.0, 0.0]
