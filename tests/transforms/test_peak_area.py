"""Areas that follow from their scores."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from bundle.transforms.peak_area import PeakArea, WholeBody

EVERYWHERE = torch.ones(1, 1, 32, 32, dtype=torch.bool)


def bump(width: float) -> torch.Tensor:
    """A Gaussian of the width, in cells, in the middle of an 8 x 8 map: [1, 8, 8]."""
    place = torch.arange(8) - 3.5
    return torch.exp(-(place**2)[:, None] / 2 / width**2 - (place**2) / 2 / width**2)[None]


def test_by_hand_against_a_slow_computation() -> None:
    body = torch.rand(3, 1, 32, 32, generator=torch.Generator().manual_seed(0)) > 0.3
    score = torch.randn(3, 8, 8, generator=torch.Generator().manual_seed(1))
    got = PeakArea(0.4)(score, body)
    fine = F.interpolate(score[:, None], size=(32, 32), mode="bilinear")
    for image in range(3):
        inside = fine[image][body[image]]
        want = (fine[image] > 0.4 * inside.max()) & body[image]
        np.testing.assert_array_equal(got[image], want)


def test_a_wide_peak_gives_a_large_mask() -> None:
    sizes = [PeakArea(0.5)(bump(width), EVERYWHERE).sum().item() for width in (0.8, 1.5, 3.0)]
    assert sizes[0] * 2 < sizes[1] < sizes[2] / 2


def test_no_score_above_zero_gives_an_empty_mask() -> None:
    assert not PeakArea(0.5)(-torch.rand(2, 8, 8) - 0.1, EVERYWHERE.repeat(2, 1, 1, 1)).any()
    assert not PeakArea(0.5)(bump(1), torch.zeros_like(EVERYWHERE)).any()


def test_a_flat_map_covers_no_more_than_allowed() -> None:
    body = EVERYWHERE.clone()
    body[..., 16:] = False
    flat = 1 + 0.01 * torch.rand(1, 8, 8)
    assert PeakArea(0.5)(flat, body).sum() == 512
    limited = PeakArea(0.5, largest=0.15)(flat, body)
    assert 0.12 * 512 < limited.sum() < 0.18 * 512
    small = bump(0.8)
    assert torch.equal(PeakArea(0.5, largest=0.5)(small, EVERYWHERE), PeakArea(0.5)(small, EVERYWHERE))


def test_the_whole_body_is_kept_whatever_the_scores() -> None:
    body = torch.rand(2, 1, 32, 32) > 0.5
    assert torch.equal(WholeBody()(torch.randn(2, 8, 8), body), body)


@pytest.mark.parametrize("share", [0, 1, -0.1])
def test_a_share_that_is_none_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        PeakArea(share)
