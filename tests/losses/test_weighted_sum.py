import pytest
import torch
from torch import nn

from bundle.losses.weighted_sum import WeightedSum


class Constant(nn.Module):
    def __init__(self, value):
        super().__init__()
        self.value = nn.Parameter(torch.tensor(float(value)))

    def forward(self, prediction, target):
        return self.value * prediction["x"] + target["y"]


def test_sum_weights_and_last_terms():
    loss = WeightedSum({"a": Constant(2), "b": Constant(3)}, {"b": 0.5})
    value = loss({"x": torch.tensor(1.0)}, {"y": torch.tensor(1.0)})
    assert value.item() == 3 + 0.5 * 4
    assert {k: v.item() for k, v in loss.last.items()} == {"a": 3, "b": 4}
    assert not loss.last["a"].requires_grad


def test_paused_term_is_absent_and_gives_no_gradient():
    loss = WeightedSum({"a": Constant(2), "b": Constant(3)})
    loss.pause("b")
    value = loss({"x": torch.tensor(1.0)}, {"y": torch.tensor(0.0)})
    value.backward()
    assert value.item() == 2
    assert "b" not in loss.last
    assert loss.terms["b"].value.grad is None
    loss.pause("b", False)
    assert loss({"x": torch.tensor(1.0)}, {"y": torch.tensor(0.0)}).item() == 5


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match=r"\['c'\]"):
        WeightedSum({"a": Constant(1)}, {"c": 1})
    with pytest.raises(ValueError, match="'c'"):
        WeightedSum({"a": Constant(1)}).pause("c")
