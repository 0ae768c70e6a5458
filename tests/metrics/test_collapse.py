from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from bundle.metrics.collapse import CollapseMetric


def scores(image: Tensor, text: Tensor | None = None, text_id: Tensor | None = None) -> dict[str, float]:
    metric = CollapseMetric()
    numbers = torch.arange(len(image))
    embeddings = {"image_embedding": image, "text_embedding": image if text is None else text}
    metric(embeddings, {"text_id": numbers if text_id is None else text_id, "index": numbers})
    return metric.aggregate()


def test_vectors_that_use_all_dimensions_alike() -> None:
    both_ways = torch.cat([torch.eye(6), -torch.eye(6)])
    result = scores(both_ways)
    assert result["collapse_image"] == pytest.approx(0, abs=1e-5)
    # Of 11 others each vector has one opposite (-1) and ten at right angles (0).
    assert result["mean_similarity_image"] == pytest.approx(-1 / 11)


def test_vectors_on_one_line() -> None:
    line = torch.zeros(10, 6)
    line[:, 2] = torch.tensor([1.0, -1.0]).repeat(5)
    assert scores(line)["collapse_image"] == pytest.approx(1 - 1 / 6, abs=1e-5)


@pytest.mark.parametrize("value", [torch.ones(8, 4) / 2, torch.full((8, 4), math.nan), torch.ones(1, 4)])
def test_equal_broken_or_single_vectors_have_collapsed(value: Tensor) -> None:
    result = scores(value)
    assert result["collapse_image"] == pytest.approx(1)
    assert result["mean_similarity_image"] == pytest.approx(1)


def test_equal_vectors_with_noise_are_seen_by_the_similarity_alone() -> None:
    noisy = torch.ones(64, 8) + 1e-4 * torch.randn(64, 8, generator=torch.Generator().manual_seed(0))
    result = scores(noisy)
    assert result["collapse_image"] < 0.5
    assert result["mean_similarity_image"] == pytest.approx(1, abs=1e-4)


def test_a_report_that_many_images_share_counts_once() -> None:
    image = torch.cat([torch.eye(4), -torch.eye(4)])
    text_id = torch.tensor([0, 1, 2, 3, 4, 5, 6, 7, 0, 0, 0, 0, 0, 0])
    text = image[text_id]
    assert scores(text, text, text_id)["collapse_text"] == pytest.approx(0, abs=1e-5)
    assert scores(text, text, text_id)["collapse_image"] > 0.01


def test_an_empty_validation_is_refused() -> None:
    with pytest.raises(ValueError, match="before any pair"):
        CollapseMetric().aggregate()
