import math

import pytest
import torch
from monai.losses import DiceCELoss, DiceFocalLoss, DiceLoss
from torch import nn

from bundle.losses.on_label import OnLabel


def masks(classes: int = 1) -> torch.Tensor:
    label = torch.zeros(2, classes, 4, 4, dtype=torch.bool)
    label[0, 0, :2] = True
    return label


def test_masks_reach_a_loss_of_monai_as_floats():
    logits = torch.zeros(2, 1, 4, 4, dtype=torch.bfloat16)
    value = OnLabel(DiceCELoss(sigmoid=True, smooth_nr=0, smooth_dr=1e-8))(logits, {"label": masks()})
    assert value.dtype == torch.float32
    # Dice loss of each image: half of the first is foreground, nothing of the second.
    dice = ((1 - 2 * 0.5 * 8 / (8 + 8)) + 1) / 2
    assert value.item() == pytest.approx(dice + math.log(2), abs=1e-5)


def test_only_the_focal_sum_treats_overlapping_classes_alone():
    """What the documentation warns of: a logit of one class moves the loss of another in DiceCELoss."""
    other = torch.zeros(2, 2, 4, 4)
    other[:, 1] = 3
    label = {"label": masks(2)}
    moved = {}
    for kind in (DiceCELoss, DiceFocalLoss):
        gradients = []
        for start in (torch.zeros(2, 2, 4, 4), other):
            logits = start.clone().requires_grad_()
            OnLabel(kind(sigmoid=True))(logits, label).backward()
            gradients.append(logits.grad[:, 0])
        moved[kind] = not torch.allclose(*gradients)
    assert moved == {DiceCELoss: True, DiceFocalLoss: False}


def test_a_mean_over_images_is_that_of_its_halves():
    logits = torch.randn(2, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    label = masks(2)
    for loss in (DiceLoss(sigmoid=True), DiceCELoss(sigmoid=True), DiceFocalLoss(sigmoid=True)):
        halves = [OnLabel(loss)(logits[i : i + 1], {"label": label[i : i + 1]}) for i in range(2)]
        assert OnLabel(loss)(logits, {"label": label}).item() == pytest.approx(sum(halves).item() / 2, rel=1e-6)


def test_indicators_and_class_numbers_reach_losses_of_torch():
    logits = torch.zeros(3, 4)
    bce = OnLabel(nn.BCEWithLogitsLoss())(logits, {"label": torch.ones(3, 4, dtype=torch.uint8)})
    assert bce.item() == pytest.approx(math.log(2))
    cross_entropy = OnLabel(nn.CrossEntropyLoss())(logits, {"label": torch.tensor([0, 3, 1])})
    assert cross_entropy.item() == pytest.approx(math.log(4))
