from __future__ import annotations

import pytest
import torch
from torch import Tensor

from bundle.metrics.mask_overlap import MaskOverlap


def square(rows: int, columns: int) -> Tensor:
    """Mask `[1, 4, 4]` with a block in the upper left corner."""
    mask = torch.zeros(1, 4, 4)
    mask[:, :rows, :columns] = 1
    return mask


def overlap(decoded: list[Tensor], pseudo: list[Tensor], index: list[int]) -> MaskOverlap:
    metric = MaskOverlap(mask=lambda prediction, target: target["drawn"])
    logits = torch.stack(decoded) * 8 - 4
    metric({"logits": logits}, {"drawn": torch.stack(pseudo), "index": torch.tensor(index)})
    return metric


def test_values_by_hand() -> None:
    # 4 and 8 pixels share 4: Dice 2 * 4 / 12; equal masks: 1; disjoint: 0; both empty: 1; pseudo mask empty: 0.
    other = square(4, 4) - square(4, 2)
    decoded = [square(2, 2), square(3, 3), square(4, 2), square(0, 0), square(1, 1)]
    pseudo = [square(2, 4), square(3, 3), other, square(0, 0), square(0, 0)]
    metric = overlap(decoded, pseudo, [0, 1, 2, 3, 4])
    result = metric.aggregate()
    assert result["decoder_mask_dice"] == pytest.approx((2 / 3 + 1 + 0 + 1 + 0) / 5)
    assert result["decoder_mask_share"] == pytest.approx((4 + 9 + 8 + 0 + 1) / 80)
    assert result["pseudo_mask_share"] == pytest.approx((8 + 9 + 8 + 0 + 0) / 80)
    assert metric.samples()["decoder_mask_dice"].values.tolist() == pytest.approx([2 / 3, 1, 0, 1, 0])


def test_a_soft_mask_is_cut_at_one_half() -> None:
    soft = square(4, 4) * 0.5 + square(2, 2) * 0.1
    assert overlap([square(2, 2)], [soft], [0]).aggregate()["decoder_mask_dice"] == 1


def test_an_item_that_comes_twice_counts_once() -> None:
    decoded, pseudo = [square(2, 2), square(2, 2), square(2, 2)], [square(2, 2), square(4, 4), square(4, 4)]
    assert overlap(decoded, pseudo, [0, 1, 1]).aggregate()["decoder_mask_dice"] == pytest.approx((1 + 0.4) / 2)


def test_without_decoder_there_is_nothing_to_report() -> None:
    metric = MaskOverlap(mask=lambda prediction, target: target["drawn"])
    metric({"attention": torch.ones(1, 1, 2, 2)}, {"index": torch.tensor([0])})
    assert metric.aggregate() == {}
    assert metric.samples() == {}
