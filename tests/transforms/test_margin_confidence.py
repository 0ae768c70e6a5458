"""Confidence by hand: shares of the peak against a threshold."""

import pytest
import torch

from bundle.transforms.margin_confidence import MarginConfidence

SCORE = torch.tensor([[[8.0, 0.8], [1.2, -1.0]]])  # shares 1, 0.1, 0.15, -0.125 of the peak


def test_what_is_far_from_the_threshold_counts_whole() -> None:
    weight = MarginConfidence(lambda _: SCORE, share=0.1, margin=0.1)({}, {"image": torch.zeros(1, 1, 2, 2)})
    assert weight.shape == (1, 1, 2, 2)
    assert weight.flatten().tolist() == pytest.approx([1.0, 0.0, 0.5, 1.0])


def test_it_is_laid_where_the_cells_look() -> None:
    weight = MarginConfidence(lambda _: SCORE, share=0.1, margin=0.1, offset=-1)({}, {"image": torch.zeros(1, 1, 2, 2)})
    assert weight.flatten().tolist() == pytest.approx([1.0, 1.0, 1.0, 1.0])


def test_an_image_without_mask_is_trusted_everywhere_and_one_without_score_too() -> None:
    confidence = MarginConfidence(lambda _: SCORE.repeat(2, 1, 1), kept=lambda target: target["abnormal"], margin=0.1)
    target = {"image": torch.zeros(2, 1, 2, 2), "abnormal": torch.tensor([True, False])}
    weight = confidence({}, target)
    assert weight[0].min() == pytest.approx(0, abs=1e-6)
    assert (weight[1] == 1).all()
    flat = MarginConfidence(lambda _: torch.zeros(1, 2, 2))({}, {"image": torch.zeros(1, 1, 2, 2)})
    assert (flat == 1).all()  # nothing scores: no pixel is near a threshold that none reaches
