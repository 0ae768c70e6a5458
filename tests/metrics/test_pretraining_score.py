"""The error of painted patches, and the figures of pre-training together."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from m3ae_parts import batch, small
from torch import Tensor

from bundle.losses.masked_modeling import MaskedImageLoss, MaskedLanguageLoss
from bundle.metrics.masked_image import MaskedImageMetric
from bundle.metrics.masked_words import MaskedWordMetric
from bundle.metrics.matching import MatchingMetric
from bundle.metrics.pretraining_score import PretrainingMetric

# Of two images with three patches of two pixels: errors of the pixels, and which patches were removed.
ERRORS = [[[1.0, 3.0], [9.0, 9.0], [0.0, 2.0]], [[2.0, 2.0], [1.0, 1.0], [9.0, 9.0]]]
REMOVED = [[1.0, 0.0, 1.0], [1.0, 0.0, 0.0]]


def patches() -> dict[str, Tensor]:
    target = torch.randn(2, 3, 2)
    return {
        "mim_prediction": target + torch.tensor(ERRORS),
        "mim_target": target,
        "mim_mask": torch.tensor(REMOVED),
    }


def output(**options: Any) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    with torch.no_grad():
        return small(**options).eval()(**batch()), {"index": torch.arange(4)}


def test_error_of_removed_patches_by_hand() -> None:
    metric = MaskedImageMetric()
    metric(patches(), {"index": torch.tensor([1, 0])})
    # Mean squares of the removed patches: (1 + 9) / 2, (0 + 4) / 2; and (4 + 4) / 2 of the other image.
    assert metric.aggregate()["masked_image_error"] == pytest.approx((5 + 2 + 4) / 3)
    resampled = metric.samples()["masked_image_error"].resampled(np.array([[1, 0], [1, 2]]))
    np.testing.assert_allclose(resampled, [4, (4 + 2 * 5 + 2 * 2) / 5], rtol=1e-5)


def test_of_the_network_they_are_the_losses() -> None:
    prediction, target = output()
    metric = PretrainingMetric()
    metric(prediction, target)
    figures = metric.aggregate()
    assert figures["masked_image_error"] == pytest.approx(float(MaskedImageLoss()(prediction)))
    assert np.log(figures["masked_word_perplexity"]) == pytest.approx(float(MaskedLanguageLoss()(prediction)))


def test_together_they_are_what_each_measures_alone() -> None:
    prediction, target = output()
    prediction["matching_label"][2] = float("nan")
    together, alone = PretrainingMetric(), [MaskedWordMetric(), MatchingMetric(), MaskedImageMetric()]
    parts: dict[str, float] = {}
    for metric in alone:
        metric(prediction, target)
        parts |= metric.aggregate()
    together(prediction, target)
    figures = together.aggregate()
    score = parts["masked_word_accuracy"] + parts["matching_accuracy"] - parts["masked_image_error"]
    assert figures == parts | {"pretraining_score": pytest.approx(score)}
    for metric in alone:
        for name, sampled in metric.samples().items():
            assert together.samples()[name].index.tolist() == sampled.index.tolist()
    assert "pretraining_score" not in together.samples()


@pytest.mark.parametrize("left_out", [["image_decoder"], ["language_head"], ["image_decoder", "language_head"]])
def test_ablations_have_fewer_figures(left_out: list[str]) -> None:
    prediction, target = output(**dict.fromkeys(left_out))
    metric = PretrainingMetric()
    metric(prediction, target)
    figures = metric.aggregate()
    absent = {"image_decoder": "masked_image", "language_head": "masked_word"}
    assert not any(name.startswith(absent[part]) for name in figures for part in left_out)
    score = figures["matching_accuracy"]
    if "image_decoder" not in left_out:
        score -= figures["masked_image_error"]
    if "language_head" not in left_out:
        score += figures["masked_word_accuracy"]
    assert figures["pretraining_score"] == pytest.approx(score)


def test_whatever_the_order_of_batches() -> None:
    prediction, target = output()
    whole, parts = PretrainingMetric(), PretrainingMetric()
    whole(prediction, target)
    for rows in ([3, 1], [0, 3], [2]):
        parts({name: x[rows] for name, x in prediction.items()}, {"index": torch.tensor(rows)})
    assert parts.aggregate() == pytest.approx(whole.aggregate())


def test_what_is_no_number_is_refused() -> None:
    prediction, target = output()
    prediction["mim_prediction"][3] = float("nan")
    metric = PretrainingMetric()
    metric(prediction, target)
    with pytest.raises(ValueError, match=r"prediction of item 3 .* is not a number"):
        metric.aggregate()
