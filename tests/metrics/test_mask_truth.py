from __future__ import annotations

import pytest
import torch
from torch import Tensor

from bundle.metrics.mask_truth import MaskTruth


def square(rows: int, columns: int) -> Tensor:
    """Mask `[1, 4, 4]` with a block in the upper left corner."""
    mask = torch.zeros(1, 4, 4)
    mask[:, :rows, :columns] = 1
    return mask


def test_values_by_hand_over_images_with_a_truth() -> None:
    truth = torch.stack([square(2, 2), square(0, 0), square(4, 2)]).bool()
    metric = MaskTruth(mask=lambda prediction, target: target["drawn"], truth=truth)
    # rows 2 and 0, then 1, whose truth is empty, and 0 once more
    pseudo = torch.stack([square(4, 2), square(2, 4), square(1, 1), square(0, 0)]) * 0.75
    decoded = torch.stack([square(4, 4), square(0, 0), square(4, 4), square(0, 0)]) - 0.5
    metric({"logits": decoded}, {"drawn": pseudo, "index": torch.tensor([2, 0, 1, 0])})
    result = metric.aggregate()
    assert result["pseudo_mask_truth_dice"] == pytest.approx((1 + 2 * 4 / 12) / 2)
    assert result["decoder_truth_dice"] == pytest.approx((2 * 8 / 24 + 0) / 2)
    assert metric.samples()["decoder_truth_dice"].index.tolist() == [0, 2]


def test_without_decoder_there_is_nothing_to_report() -> None:
    metric = MaskTruth(mask=lambda prediction, target: target["drawn"], truth=torch.ones(1, 1, 2, 2))
    metric({"attention": torch.ones(1, 1, 2, 2)}, {"index": torch.tensor([0])})
    assert metric.aggregate() == {}


def test_precision_and_recall_where_little_and_where_much_is_marked() -> None:
    truth = torch.stack([square(1, 1), square(4, 4), square(2, 2), square(0, 0), square(1, 2)]).bool()
    metric = MaskTruth(lambda prediction, target: target["drawn"], truth, small=2 / 16, large=8 / 16)
    pseudo = torch.stack([square(2, 2), square(2, 3), square(4, 4), square(4, 4), square(0, 0)])
    metric({"logits": pseudo}, {"drawn": pseudo, "index": torch.arange(5)})
    result = metric.aggregate()
    # Of images 0 and 4, and of 1; an empty mask has no precision.
    assert result["pseudo_mask_precision_small"] == pytest.approx(1 / 4)
    assert result["pseudo_mask_recall_small"] == pytest.approx((1 + 0) / 2)
    assert result["pseudo_mask_precision_large"] == pytest.approx(1)
    assert result["pseudo_mask_recall_large"] == pytest.approx(6 / 16)
