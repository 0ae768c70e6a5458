"""The baseline that calls everything by one class."""

from __future__ import annotations

import pytest
import torch

from bundle.metrics.majority import MajorityMetric


def test_share_of_the_class_whatever_is_predicted() -> None:
    metric = MajorityMetric(2)
    labels = torch.tensor([2, 0, 2, 1, 2])
    for rows in ([3, 4, 0], [1, 2, 2]):  # item 2 comes twice, as in a padded shard
        metric(torch.randn(3, 3), {"label": labels[rows], "index": torch.tensor(rows)})
    assert metric.aggregate() == {"accuracy_prior": pytest.approx(3 / 5)}
    assert metric.samples()["accuracy_prior"].index.tolist() == [0, 1, 2, 3, 4]
