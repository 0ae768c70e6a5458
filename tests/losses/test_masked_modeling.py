"""Losses of masked modelling by hand, and where their gradients come from; two processes: see the test of M3AE."""

from __future__ import annotations

import math

import pytest
import torch

from bundle.losses.masked_modeling import MaskedImageLoss, MaskedLanguageLoss
from bundle.losses.weighted_sum import WeightedSum
from bundle.networks.blocks.masked_image_decoder import patch_targets


def test_words_by_hand() -> None:
    # Odds of 3 : 1 : 1 : 1 and 1 : 1 : 1 : 1; the place between is not judged.
    logits = torch.tensor([[[math.log(3), 0, 0, 0], [9.0, -9, 9, -9]], [[5.0, 5, 5, 5], [1.0, 2, 3, 4]]])
    labels = torch.tensor([[0, -100], [2, -100]])
    value = MaskedLanguageLoss()({"mlm_logits": logits, "mlm_labels": labels})
    assert value.item() == pytest.approx((math.log(2) + math.log(4)) / 2)


def test_every_word_counts_alike_however_many_a_report_has() -> None:
    logits = torch.zeros(2, 3, 4)
    logits[0, 0, 1] = 50.0  # named rightly; the three words of the other report are guessed
    labels = torch.tensor([[1, -100, -100], [0, 1, 2]])
    value = MaskedLanguageLoss()({"mlm_logits": logits, "mlm_labels": labels})
    assert value.item() == pytest.approx(3 / 4 * math.log(4))


def test_nothing_judged_is_zero_with_zero_gradients() -> None:
    logits = torch.randn(2, 3, 4, dtype=torch.bfloat16, requires_grad=True)
    value = MaskedLanguageLoss()({"mlm_logits": logits, "mlm_labels": torch.full((2, 3), -100)})
    value.backward()
    assert value.item() == 0
    assert value.dtype == torch.float32
    assert not logits.grad.any()


def test_patches_by_hand() -> None:
    prediction = torch.tensor([[[1.0, 2.0], [9.0, 9.0], [0.0, 0.0]]])
    target = torch.tensor([[[0.0, 0.0], [0.0, 0.0], [3.0, 1.0]]])
    given = {"mim_prediction": prediction, "mim_target": target, "mim_mask": torch.tensor([[1.0, 0.0, 1.0]])}
    assert MaskedImageLoss()(given).item() == pytest.approx(((1 + 4) / 2 + (9 + 1) / 2) / 2)


def test_only_removed_patches_have_gradients_and_the_target_has_no_loss() -> None:
    target = patch_targets(torch.randn(2, 1, 8, 8), 4)
    prediction, mask = torch.randn(2, 4, 16, requires_grad=True), torch.tensor([[1.0, 0, 0, 1], [0, 1, 1, 0]])
    MaskedImageLoss()({"mim_prediction": prediction, "mim_target": target, "mim_mask": mask}).backward()
    assert torch.equal(prediction.grad.abs().amax(-1) > 0, mask.bool())
    assert MaskedImageLoss()({"mim_prediction": target, "mim_target": target, "mim_mask": mask}).item() == 0
    zero = MaskedImageLoss()({"mim_prediction": 0 * target, "mim_target": target, "mim_mask": mask})
    assert zero.item() == pytest.approx(15 / 16, rel=1e-4)  # unbiased variances are 1


def test_fits_a_weighted_sum_and_asks_no_device() -> None:
    loss = WeightedSum({"words": MaskedLanguageLoss(), "patches": MaskedImageLoss()}, {"patches": 0.5})
    logits = torch.zeros(2, 3, 4, device="meta", requires_grad=True)
    given = {
        "mlm_logits": logits,
        "mlm_labels": torch.zeros(2, 3, dtype=torch.long, device="meta"),
        "mim_prediction": torch.zeros(2, 4, 16, device="meta"),
        "mim_target": torch.zeros(2, 4, 16, device="meta"),
        "mim_mask": torch.zeros(2, 4, device="meta"),
    }
    loss(given, {}).backward()
    assert logits.grad.is_meta
