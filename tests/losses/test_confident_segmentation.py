"""Values by hand, and the plain loss where the mask is hard."""

import math

import pytest
import torch

from bundle.losses.confident_segmentation import ConfidentSegmentationLoss
from bundle.losses.pseudo_segmentation import PseudoSegmentationLoss

LOGITS = torch.tensor([[[[2.0, -1.0], [0.5, -3.0]]]])
HARD = torch.tensor([[[[1.0, 0.0], [0.0, 1.0]]]])
SOFT = torch.tensor([[[[1.0, 0.0], [0.5, 0.75]]]])  # weights 1, 1, 0, 1/2


def loss(mask: torch.Tensor, **weights: float) -> float:
    return ConfidentSegmentationLoss(lambda *_: mask, **weights)({"logits": LOGITS}, {}).item()


def test_a_hard_mask_gives_the_plain_loss() -> None:
    plain = PseudoSegmentationLoss(lambda *_: HARD)({"logits": LOGITS}, {}).item()
    assert loss(HARD) == pytest.approx(plain, rel=1e-5)


def test_a_soft_mask_counts_by_its_distance_from_one_half() -> None:
    of = [
        math.log1p(math.exp(-2)),
        math.log1p(math.exp(-1)),
        0.75 * math.log1p(math.exp(3)) + 0.25 * math.log1p(math.exp(-3)),
    ]
    assert loss(SOFT, dice_weight=0, bce_weight=1) == pytest.approx((of[0] + of[1] + of[2] / 2) / 2.5, rel=1e-5)
    p = [1 / (1 + math.exp(-x)) for x in (2, -1, -3)]
    overlap, total = p[0] + 0.75 * p[2] / 4, p[0] + p[1] + p[2] / 2 + 1 + 0.75 / 2
    assert loss(SOFT, dice_weight=1, bce_weight=0) == pytest.approx(1 - 2 * overlap / total, abs=1e-4)


def test_the_seam_has_no_gradient_and_all_else_has() -> None:
    logits = LOGITS.clone().requires_grad_()
    ConfidentSegmentationLoss(lambda *_: SOFT)({"logits": logits}, {}).backward()
    assert logits.grad is not None
    assert (logits.grad != 0).flatten().tolist() == [True, True, False, True]


def test_a_mask_that_says_nothing_teaches_nothing() -> None:
    logits = LOGITS.clone().requires_grad_()
    value = ConfidentSegmentationLoss(lambda *_: torch.full_like(HARD, 0.5))({"logits": logits}, {})
    value.backward()
    assert value.isfinite()
    assert logits.grad is not None
    assert not logits.grad.any()
