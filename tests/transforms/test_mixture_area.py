"""The mixture of two normal distributions, against the textbook and against wild scores."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from bundle.transforms.mixture_area import MixtureArea


def whole(side: int, batch: int = 1) -> torch.Tensor:
    return torch.ones(batch, 1, side, side, dtype=torch.bool)


def test_two_heaps_are_parted_whatever_their_share() -> None:
    generator = torch.Generator().manual_seed(0)
    for high in (3, 10, 30):
        score = 0.01 + 0.002 * torch.randn(1, 64, generator=generator)
        score[:, :high] += 0.03  # fifteen deviations away
        mask = MixtureArea()(score.view(1, 8, 8), whole(32))
        assert mask[0, 0, ::4, ::4].flatten().nonzero().flatten().tolist() == list(range(high))


def by_the_book(values: np.ndarray, weight: np.ndarray, iterations: int) -> np.ndarray:
    """Textbook steps on probabilities, without logarithms, one image at a time."""
    mean = np.average(values, weights=weight)
    z = (values - mean) / np.sqrt(np.average((values - mean) ** 2, weights=weight))
    weight = weight / weight.sum()
    high = (z > 0).astype(float)
    for _ in range(iterations):
        density = []
        for belongs in (1 - high, high):
            share = max((weight * belongs).sum(), 1e-3)
            centre = (weight * belongs * z).sum() / share
            variance = max((weight * belongs * (z - centre) ** 2).sum() / share, 1e-3)
            density.append(share * np.exp(-((z - centre) ** 2) / (2 * variance)) / np.sqrt(variance))
        high = density[1] / (density[0] + density[1] + 1e-300)
    return (high > 0.5) & (z > 0)


def test_equals_the_textbook_with_the_body_as_weight() -> None:
    rng = np.random.default_rng(3)
    score = torch.from_numpy(rng.gamma(2.0, size=(5, 8, 8)))
    body = torch.from_numpy(rng.random((5, 1, 32, 32)) < rng.random((5, 1, 1, 1)))
    mask = MixtureArea(10)(score, body)
    for image in range(5):
        weight = body[image, 0].numpy().reshape(8, 4, 8, 4).sum((1, 3)).ravel().astype(float)
        keep = by_the_book(score[image].numpy().ravel(), weight, 10).reshape(8, 8)
        want = np.kron(keep, np.ones((4, 4), dtype=bool)) & body[image, 0].numpy()
        np.testing.assert_array_equal(mask[image, 0].numpy(), want)


def test_an_image_does_not_depend_on_its_batch_and_scale_does_not_matter() -> None:
    score = torch.rand(4, 8, 8, generator=torch.Generator().manual_seed(2))
    together = MixtureArea()(score, whole(64, 4))
    assert torch.equal(MixtureArea()(score[2:3], whole(64)), together[2:3])
    assert torch.equal(MixtureArea()(1e-4 * score, whole(64, 4)), together)


def test_equal_scores_and_an_empty_body_have_no_mask() -> None:
    flat = torch.full((1, 8, 8), 1 / 63)
    assert not MixtureArea()(flat, whole(64)).any()
    body = torch.zeros(1, 1, 64, 64, dtype=torch.bool)
    assert not MixtureArea()(torch.rand(1, 8, 8), body).any()


@given(seed=st.integers(0, 2**31), spread=st.sampled_from([1e-6, 1.0, 1e4]), levels=st.sampled_from([2, 3, 1000]))
def test_the_mask_is_a_threshold_and_inside_the_body(seed: int, spread: float, levels: int) -> None:
    rng = np.random.default_rng(seed)
    score = torch.from_numpy(rng.integers(0, levels, (1, 8, 8)).astype(np.float32) * spread)
    body = torch.from_numpy(rng.random((1, 1, 32, 32)) < 0.6)
    mask = MixtureArea()(score, body)
    assert not (mask & ~body).any()
    fine = score.repeat_interleave(4, 1).repeat_interleave(4, 2)[:, None]
    if mask.any():
        assert fine[mask].min() > fine[body].mean()
