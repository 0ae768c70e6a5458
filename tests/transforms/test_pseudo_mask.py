"""The pseudo mask part by part, against slow and plain computations."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from bundle.transforms.pseudo_mask import (
    AttentionScore,
    BilateralEdges,
    BilinearQuantileArea,
    GuidedEdges,
    PseudoMask,
    QuantileArea,
    StoredBody,
    WholeImage,
)


def distinct_scores(side: int, batch: int = 3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.stack(
        [torch.randperm(side * side, generator=generator).float().reshape(side, side) for _ in range(batch)]
    )


@pytest.mark.parametrize(("side", "inclusive", "kept"), [(8, False, 9), (8, True, 10), (7, False, 7), (7, True, 8)])
def test_quantile_keeps_as_many_cells_as_published(side, inclusive, kept):
    body = torch.ones(3, 1, side * 32, side * 32, dtype=torch.bool)
    mask = QuantileArea(0.85, inclusive)(distinct_scores(side), body)
    assert mask.sum((1, 2, 3)).tolist() == [kept * 32 * 32] * 3


@pytest.mark.parametrize("offset", [-4, 0, 3])
def test_a_mask_lies_on_what_its_cells_look_at(offset):
    """Cell (2, 5) of 8 x 8 stands for rows 16 to 23 and columns 40 to 47, and looks `offset` px down and right."""
    score = torch.zeros(1, 8, 8)
    score[0, 2, 5] = 1.0
    body = torch.ones(1, 1, 64, 64, dtype=torch.bool)
    body[..., 18, :] = False
    draw = PseudoMask(lambda p: p["score"], StoredBody(), QuantileArea(0.98, inclusive=False), offset=offset)
    mask = draw({"score": score}, {"body": body, "image": torch.zeros(1, 1, 64, 64)})
    expected = torch.zeros(1, 1, 64, 64)
    expected[..., 16 + offset : 24 + offset, 40 + offset : 48 + offset] = 1
    assert torch.equal(mask, expected * body)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    levels=st.sampled_from([2, 5, 1000]),
    cells=st.sampled_from([(4, 8), (7, 4)]),
    quantile=st.sampled_from([0.5, 0.75, 0.85, 0.95]),
    inclusive=st.booleans(),
    body_share=st.sampled_from([0.02, 0.3, 0.7, 1.0]),
)
def test_cells_equal_the_quantile_over_body_pixels(seed, levels, cells, quantile, inclusive, body_share):
    side, factor = cells
    rng = np.random.default_rng(seed)
    score = torch.from_numpy(rng.integers(0, levels, (2, side, side)).astype(np.float32) / levels)
    body = torch.from_numpy(rng.random((2, 1, side * factor, side * factor)) < body_share)
    got = QuantileArea(quantile, inclusive)(score, body)
    for image in range(2):
        fine = np.kron(score[image].numpy().astype(np.float64), np.ones((factor, factor)))
        inside = fine[body[image, 0].numpy()]
        if inside.size == 0:
            assert not got[image].any()
            continue
        threshold = np.quantile(inside, quantile)
        # the interpolated quantile rounds: values equal to it up to rounding count as equal
        near = np.isclose(fine, threshold, rtol=0, atol=1e-9)
        above = (fine > threshold) & ~near
        want = (above | (near if inclusive else False)) & body[image, 0].numpy()
        np.testing.assert_array_equal(got[image, 0].numpy(), want)


def test_nothing_outside_the_body():
    body = torch.zeros(1, 1, 64, 64, dtype=torch.bool)
    body[..., 16:48, 16:48] = True
    for area in (QuantileArea(0.5), BilinearQuantileArea(0.5)):
        mask = area(torch.rand(1, 8, 8), body)
        assert mask.any()
        assert not (mask & ~body).any()


def test_bilinear_area_covers_the_asked_share():
    body = torch.ones(2, 1, 64, 64, dtype=torch.bool)
    mask = BilinearQuantileArea(0.85)(torch.rand(2, 8, 8, generator=torch.Generator().manual_seed(0)), body)
    torch.testing.assert_close(mask.float().mean((1, 2, 3)), torch.full((2,), 0.15), atol=2e-3, rtol=0)


def bilateral_by_the_book(mask: np.ndarray, sigma_color: float, sigma_space: float, window: int) -> np.ndarray:
    half, (height, width) = window // 2, mask.shape
    out = np.zeros_like(mask, dtype=np.float64)
    for y in range(height):
        for x in range(width):
            total = weights = 0.0
            for v in range(max(0, y - half), min(height, y + half + 1)):
                for u in range(max(0, x - half), min(width, x + half + 1)):
                    space = np.exp(-((y - v) ** 2 + (x - u) ** 2) / (2 * sigma_space**2))
                    weight = space * np.exp(-((mask[y, x] - mask[v, u]) ** 2) / (2 * sigma_color**2))
                    total, weights = total + weight * mask[v, u], weights + weight
            out[y, x] = total / weights
    return out


@pytest.mark.parametrize("sigma_color", [0.5, 1.0])
def test_closed_form_equals_the_bilateral_filter(sigma_color):
    mask = (np.random.default_rng(0).random((4, 4)) > 0.6).repeat(5, 0).repeat(5, 1).astype(np.float32)
    got = BilateralEdges(sigma_color, 3.0, 7)(torch.from_numpy(mask)[None, None], None)
    np.testing.assert_allclose(got[0, 0].numpy(), bilateral_by_the_book(mask, sigma_color, 3.0, 7), atol=1e-5)


def test_small_sigma_color_smooths_nothing():
    mask = torch.zeros(1, 1, 32, 32)
    mask[..., 8:16, 8:16] = 1
    assert (BilateralEdges(0.3)(mask, None) - mask).abs().max() < 0.01
    assert (BilateralEdges(1.0)(mask, None) - mask).abs().max() > 0.1


def test_guided_edges_follow_the_image():
    image = torch.zeros(1, 1, 32, 32)
    image[..., 13:] = 1  # an edge at column 13, a mask that ends at column 16
    mask = torch.zeros(1, 1, 32, 32)
    mask[..., 16:] = 1
    smooth = GuidedEdges(sigma_color=0.1, sigma_space=4, window=9)(mask, image)
    plain = GuidedEdges(sigma_color=1e3, sigma_space=4, window=9)(mask, image)
    assert smooth[0, 0, 16, 14] > 1.3 * plain[0, 0, 16, 14]  # bright, so drawn to the mask
    assert smooth[0, 0, 16, 12] < 0.01 < plain[0, 0, 16, 12]  # beyond the edge


def prediction(heads: int = 4, batch: int = 2) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(2)
    attention = torch.rand(batch, heads, 8, 8, generator=generator, requires_grad=True)
    return {"attention": attention}


def test_released_mask_keeps_9_of_64_cells():
    released = PseudoMask(AttentionScore(), WholeImage(), QuantileArea(0.85, inclusive=False))
    mask = released(prediction(), {"image": torch.zeros(2, 1, 256, 256)})
    cells = F.max_pool2d(mask, 32)
    assert mask.sum((1, 2, 3)).tolist() == [9 * 1024] * 2
    assert cells.sum((1, 2, 3)).tolist() == [9, 9]


def test_default_mask_is_soft_without_gradient_and_rebinarizes():
    target = {"image": torch.rand(2, 1, 64, 64), "body": torch.ones(2, 1, 64, 64, dtype=torch.bool)}
    parts = {"source": AttentionScore(), "body": StoredBody(), "area": QuantileArea(), "edges": BilateralEdges()}
    soft = PseudoMask(**parts)(prediction(), target)
    assert not soft.requires_grad
    assert 0 <= soft.min() <= soft.max() <= 1
    assert ((soft > 0.01) & (soft < 0.99)).any()
    hard = PseudoMask(**parts, rebinarize=0.5)(prediction(), target)
    assert set(hard.unique().tolist()) == {0.0, 1.0}
    torch.testing.assert_close(hard, (soft >= 0.5).float())
