"""Values by hand, and the plain loss where all pixels are trusted."""

import math

import pytest
import torch

from bundle.losses.confident_segmentation import ConfidentSegmentationLoss
from bundle.losses.pseudo_segmentation import PseudoSegmentationLoss

LOGITS = torch.tensor([[[[2.0, -1.0], [0.5, -3.0]]]])
MASK = torch.tensor([[[[1.0, 0.0], [0.0, 1.0]]]])


def loss(weight: torch.Tensor, **weights: float) -> float:
    made = ConfidentSegmentationLoss(lambda *_: MASK, lambda *_: weight, **weights)
    return made({"logits": LOGITS}, {}).item()


def test_full_confidence_is_the_plain_loss() -> None:
    plain = PseudoSegmentationLoss(lambda *_: MASK)({"logits": LOGITS}, {}).item()
    assert loss(torch.ones_like(MASK)) == pytest.approx(plain, rel=1e-5)


def test_pixels_without_confidence_do_not_count() -> None:
    weight = torch.tensor([[[[1.0, 1.0], [0.0, 0.0]]]])
    bce = (math.log1p(math.exp(-2)) + math.log1p(math.exp(-1))) / 2
    assert loss(weight, dice_weight=0, bce_weight=1) == pytest.approx(bce, rel=1e-5)
    p = [1 / (1 + math.exp(-x)) for x in (2, -1)]
    dice = 1 - 2 * p[0] / (p[0] + p[1] + 1)
    assert loss(weight, dice_weight=1, bce_weight=0) == pytest.approx(dice, abs=1e-4)


def test_confidence_weighs_gradients() -> None:
    logits = LOGITS.clone().requires_grad_()
    weight = torch.tensor([[[[1.0, 0.0], [0.5, 1.0]]]])
    made = ConfidentSegmentationLoss(lambda *_: MASK, lambda *_: weight)
    made({"logits": logits}, {}).backward()
    assert logits.grad is not None
    assert logits.grad[0, 0, 0, 1] == 0
    assert (logits.grad[weight > 0] != 0).all()


def test_no_confidence_at_all_gives_no_gradient() -> None:
    logits = LOGITS.clone().requires_grad_()
    made = ConfidentSegmentationLoss(lambda *_: MASK, lambda *_: torch.zeros_like(MASK))
    value = made({"logits": logits}, {})
    value.backward()
    assert value.isfinite()
    assert logits.grad is not None
    assert not logits.grad.any()
