"""Golden values of the loss at zero logits, which follow from its definition."""

import math

import pytest
import torch
from monai.losses import DiceLoss

from bundle.losses.pseudo_segmentation import PseudoSegmentationLoss


def covering(share_of: int, cells: int):
    """A pseudo mask that covers `share_of` of `cells` equal columns."""
    mask = torch.zeros(2, 1, cells, cells)
    mask[..., :share_of] = 1
    return lambda prediction, target: mask


def zero_logits(cells: int):
    return {"logits": torch.zeros(2, 1, cells, cells, requires_grad=True)}


@pytest.mark.parametrize(("covered", "cells", "dice", "total"), [(15, 100, 0.7692, 0.7312), (9, 64, 0.7805, 0.7368)])
def test_zero_logits(covered, cells, dice, total):
    share = covered / cells
    assert 1 - share / (0.5 + share) == pytest.approx(dice, abs=5e-5)
    loss = PseudoSegmentationLoss(covering(covered, cells))
    assert loss(zero_logits(cells), {}).item() == pytest.approx(total, abs=1e-4)
    only_dice = PseudoSegmentationLoss(covering(covered, cells), dice_weight=1, bce_weight=0)
    assert only_dice(zero_logits(cells), {}).item() == pytest.approx(dice, abs=1e-4)


def test_released_form_at_zero_logits():
    loss = PseudoSegmentationLoss(covering(9, 64), dice_weight=1, bce_weight=0.2, dice=DiceLoss(sigmoid=False))
    assert loss(zero_logits(64), {}).item() == pytest.approx(1 + 0.2 * math.log(2), abs=1e-4)  # 1.1386


def test_released_form_can_leave_the_unit_interval():
    loss = PseudoSegmentationLoss(covering(9, 64), dice_weight=1, bce_weight=0, dice=DiceLoss(sigmoid=False))
    logits = 10 * covering(9, 64)(None, None)  # 1 - 2 (10 f) / (10 f + f)
    assert loss({"logits": logits}, {}).item() == pytest.approx(1 - 20 / 11, abs=1e-4)


def test_perfect_prediction_costs_nothing_and_the_mask_has_no_gradient():
    mask = covering(9, 64)(None, None).requires_grad_()
    logits = torch.where(mask > 0, 50.0, -50.0).detach().requires_grad_()
    loss = PseudoSegmentationLoss(lambda prediction, target: mask * 1.0)
    value = loss({"logits": logits}, {})
    assert value.item() == pytest.approx(0, abs=1e-5)
    value.backward()
    assert mask.grad is None
