"""Curves land on the pixels where they were put, whatever the resolution."""

from __future__ import annotations

import numpy as np
import pytest

from bundle.data.phantom_canvas import Canvas, cloud, smooth_curve

SQUARE = np.array([[0.25, 0.5], [0.75, 0.5], [0.75, 0.75], [0.25, 0.75]])


@pytest.mark.parametrize("size", [32, 64, 256])
def test_fill_covers_the_outline_and_nothing_else(size: int) -> None:
    coverage = Canvas(size).fill(SQUARE)
    assert coverage.dtype == np.float32
    assert coverage[int(0.6 * size), int(0.5 * size)] == 1
    assert coverage[int(0.4 * size), int(0.5 * size)] == 0
    # an eighth of the canvas; the rim of half-covered pixels is at most one pixel wide
    assert coverage.sum() / size**2 == pytest.approx(0.125, abs=1.6 / size)


def test_turned_and_shifted_canvas() -> None:
    """A quarter turn clockwise takes the point right of the centre to below it."""
    moved = Canvas(100, angle=np.pi / 2, zoom=2.0, shift=(0.1, 0.0)).to_pixels(np.array([[0.6, 0.5]]))
    np.testing.assert_allclose(moved, [[60.0, 70.0]])


def test_band_has_the_width_asked_for() -> None:
    line = np.array([[0.1, 0.5], [0.5, 0.5], [0.9, 0.5]])
    coverage = Canvas(200).band([line], 0.05, 0.05)
    # antialiasing adds up to a pixel and a half
    assert 10 <= coverage[:, 100].sum() <= 11.5


def test_depth_grows_towards_the_middle() -> None:
    depth = Canvas(64).depth(Canvas(64).fill(SQUARE))
    assert depth[10, 10] == 0
    assert depth[40, 32] == pytest.approx(0.125, abs=0.03)  # half of the square's height


def test_smooth_curve_runs_through_its_points() -> None:
    points = [(0.0, 0.0), (1.0, 0.5), (2.0, 0.0)]
    curve = smooth_curve(points, samples=10)
    assert curve.shape == (21, 2)
    np.testing.assert_allclose(curve[[0, 10, 20]], points)
    closed = smooth_curve(points, closed=True, samples=10)
    assert closed.shape == (30, 2)
    np.testing.assert_allclose(closed[[0, 10, 20]], points)


def test_smooth_curve_is_the_catmull_rom_spline() -> None:
    # halfway between the middle knots: (-p0 + 9 p1 + 9 p2 - p3) / 16
    curve = smooth_curve([(0.0, 0.0), (1.0, 4.0), (2.0, 8.0), (3.0, 0.0)], samples=2)
    np.testing.assert_allclose(curve[3], [1.5, (9 * 4 + 9 * 8) / 16])


def test_cloud_is_the_same_at_every_size() -> None:
    small, large = (cloud(np.random.default_rng(5), 6, size) for size in (60, 240))
    assert np.corrcoef(small.ravel(), large[2::4, 2::4].ravel())[0, 1] > 0.99
