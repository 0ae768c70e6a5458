import math

import pytest
import torch

from bundle.losses.medklip_segmentation import MedklipSegmentationLoss


def test_values_by_hand():
    loss = MedklipSegmentationLoss()
    logits = torch.full((1, 1, 2, 2), math.log(3))  # probabilities of 3/4
    label = torch.tensor([True, True, True, False]).reshape(1, 1, 2, 2)
    dice, bce = 1 - (2 * 2.25 + 1) / (3 + 3 + 1), (3 * -math.log(0.75) - math.log(0.25)) / 4
    assert loss(logits, {"label": label}).item() == pytest.approx(dice + bce, rel=1e-6)
    assert {k: v.item() for k, v in loss.last.items()} == pytest.approx({"dice": dice, "bce": bce})


def test_zero_logits_of_foreground_alone():
    value = MedklipSegmentationLoss()(torch.zeros(2, 1, 4, 4), {"label": torch.ones(2, 1, 4, 4, dtype=torch.bool)})
    assert value.item() == pytest.approx(1 - 33 / 49 + math.log(2), rel=1e-6)


def test_a_perfect_prediction_costs_nothing_even_in_bf16():
    label = torch.zeros(2, 1, 8, 8)
    label[0, 0, 3:] = 1
    logits = (1e3 * (2 * label - 1)).bfloat16().requires_grad_()
    value = MedklipSegmentationLoss()(logits, {"label": label.bool()})
    value.backward()
    assert value.item() == pytest.approx(0, abs=1e-6)
    assert logits.grad.isfinite().all()
