import pytest
import torch
from torch import nn

from bundle.losses.weighted_sum import WeightedSum
from bundle.metrics.mean_loss import MeanLoss


class Mean(nn.Module):
    def forward(self, prediction, target):
        return prediction["x"].mean()


def test_batches_weigh_by_their_pairs():
    metric = MeanLoss(WeightedSum({"a": Mean(), "b": Mean()}, {"b": 0.5}))
    metric({"x": torch.tensor([1.0, 1.0, 1.0])}, {"index": torch.arange(3)})
    metric({"x": torch.tensor([5.0])}, {"index": torch.arange(1)})
    assert metric.aggregate() == pytest.approx({"validation_loss": 3.0, "validation_a": 2.0, "validation_b": 2.0})


def test_nothing_to_average():
    with pytest.raises(ValueError, match="before any batch"):
        MeanLoss(Mean()).aggregate()
