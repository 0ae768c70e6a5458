import math

import pytest
import torch

from bundle.losses.mgca_segmentation import MgcaSegmentationLoss


def test_values_by_hand():
    loss = MgcaSegmentationLoss()
    logits = torch.full((1, 1, 2, 2), math.log(3))  # probabilities of 3/4
    label = torch.tensor([True, True, True, False]).reshape(1, 1, 2, 2)
    focal = (3 * 0.25**2 * -math.log(0.75) + 0.75**2 * -math.log(0.25)) / 4
    dice = (2 * 2.25 + 1) / (3 + 3 + 1)
    assert loss(logits, {"label": label}).item() == pytest.approx(10 * focal - math.log(dice), rel=1e-5)
    assert {k: v.item() for k, v in loss.last.items()} == pytest.approx({"focal": focal, "log_dice": -math.log(dice)})
    assert not loss.last["focal"].requires_grad


def test_zero_logits_without_foreground():
    value = MgcaSegmentationLoss()(torch.zeros(2, 1, 4, 4), {"label": torch.zeros(2, 1, 4, 4)})
    assert value.item() == pytest.approx(2.5 * math.log(2) + math.log(17), rel=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("scale", [1e2, 1e4])
def test_extreme_logits_give_finite_values_and_gradients(scale, dtype):
    label = torch.zeros(1, 1, 4, 4)
    label[..., 0] = 1
    for sign, low, high in ((1, 0, 1e-6), (-1, 10 * scale * 0.99, math.inf)):
        logits = (sign * scale * (2 * label - 1)).to(dtype).requires_grad_()
        value = MgcaSegmentationLoss()(logits, {"label": label})
        value.backward()
        assert low <= value.item() < high
        assert logits.grad.isfinite().all()
