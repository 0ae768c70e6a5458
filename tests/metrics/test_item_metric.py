from __future__ import annotations

import pytest
import torch
from torch import Tensor

from bundle.metrics.item_metric import ItemMetric
from bundle.metrics.samples import Sampled, Samples


class Column(ItemMetric):
    """The mean of a number; and of no number."""

    def measure(self, rows: Tensor, index: Tensor) -> dict[str, Sampled]:
        return {"mean": Samples(rows, index), "nothing": Samples(rows[:0], index[:0])}


def filled(*batches: tuple[list[float], list[int]]) -> Column:
    metric = Column()
    for values, index in batches:
        metric.add(torch.tensor(values), {"index": torch.tensor(index)})
    return metric


def test_rows_come_in_the_order_of_the_list_and_once() -> None:
    rows, index = filled(([5.0, 1.0], [5, 1]), ([3.0, 5.0, 0.0], [3, 5, 0])).gathered()
    assert rows.tolist() == [0, 1, 3, 5]
    assert index.tolist() == [0, 1, 3, 5]


def test_undefined_metrics_are_absent() -> None:
    metric = filled(([2.0, 4.0], [0, 1]))
    assert metric.aggregate() == {"mean": 3}
    assert list(metric.samples()) == ["mean"]
    assert metric.samples()["mean"].index.tolist() == [0, 1]


def test_rows_without_number_are_items_in_order_of_arrival() -> None:
    metric = Column()
    metric.add(torch.tensor([4.0, 2.0]), {})
    metric.add(torch.tensor([4.0]), {"index": torch.tensor([-1])})
    rows, index = metric.gathered()
    assert rows.tolist() == [4, 2, 4]
    assert index.unique().tolist() == index.tolist()


def test_reset_forgets_and_nothing_added_is_refused() -> None:
    metric = filled(([2.0], [0]))
    metric.reset()
    with pytest.raises(ValueError, match="Column was asked for before any item"):
        metric.aggregate()
