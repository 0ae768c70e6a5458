"""Antialiased drawing of curves on a square canvas, in coordinates that don't depend on its resolution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

__all__ = ["Canvas", "Curve", "Field", "cloud", "smooth_curve"]

Curve = npt.NDArray[np.float64]
"""Points `[N, 2]` as (x, y); the canvas is the unit square, y grows downwards."""

Field = npt.NDArray[Any]
"""Values float32 `[S, S]`, one a pixel."""

_SHIFT = 4  # OpenCV draws with this many fractional bits


@dataclass(frozen=True)
class Canvas:
    """A square of `size` pixels that shows the unit square turned by `angle` and scaled by `zoom` about its centre.

    Args:
        size: side length in pixels.
        angle: rotation in radians, clockwise on the screen.
        zoom: 1 shows the unit square exactly.
        shift: (x, y) displacement in units of the side length.
    """

    size: int
    angle: float = 0.0
    zoom: float = 1.0
    shift: tuple[float, float] = (0.0, 0.0)

    def to_pixels(self, curve: Curve) -> Curve:
        """Map points `[N, 2]` of the unit square to pixels; (0, 0) is the outer corner of the first pixel."""
        cosine, sine = np.cos(self.angle), np.sin(self.angle)
        turned = (curve - 0.5) @ np.array([[cosine, sine], [-sine, cosine]])
        return (turned * self.zoom + 0.5 + np.asarray(self.shift)) * self.size

    def fill(self, *outlines: Curve) -> Field:
        """Draw closed outlines.

        Returns:
            Share of each pixel that lies inside any of them, float32 `[S, S]` in 0..1.
        """
        pixels = np.zeros((self.size, self.size), np.uint8)
        for outline in outlines:
            # OpenCV's coordinates point at pixel centres
            fixed = np.round((self.to_pixels(outline) - 0.5) * 2**_SHIFT).astype(np.int32)
            cv2.fillPoly(pixels, [fixed], 255, cv2.LINE_AA, _SHIFT)
        return pixels.astype(np.float32) / 255

    def band(self, curves: Sequence[Curve], start: float, end: float) -> Field:
        """Draw open curves as bands whose width runs from `start` to `end`, both in units of the side length.

        Returns:
            Coverage, float32 `[S, S]` in 0..1.
        """
        return self.fill(*(_thicken(curve, start, end) for curve in curves))

    def blur(self, field: Field, sigma: float) -> Field:
        """Smooth with a Gaussian; `sigma` in units of the side length."""
        return cv2.GaussianBlur(field, (0, 0), max(sigma * self.size, 0.3), borderType=cv2.BORDER_REPLICATE)

    def depth(self, coverage: Field) -> Field:
        """Distance of each covered pixel to the nearest uncovered one, in units of the side length."""
        covered = (coverage > 0.5).astype(np.uint8)
        return cv2.distanceTransform(covered, cv2.DIST_L2, 3) / self.size


def smooth_curve(points: Sequence[tuple[float, float]] | Curve, closed: bool = False, samples: int = 10) -> Curve:
    """Run a Catmull-Rom spline through points.

    Args:
        points: `[N, 2]`, N >= 3.
        closed: join the last point to the first.
        samples: points returned per segment.

    Returns:
        Dense points of the curve, float64 `[M, 2]`.
    """
    knots = np.asarray(points, np.float64)
    if closed:
        padded = np.concatenate([knots[-1:], knots, knots[:2]])
    else:
        padded = np.concatenate([2 * knots[:1] - knots[1:2], knots, 2 * knots[-1:] - knots[-2:-1]])
    neighbours = np.stack([padded[offset : len(padded) - 3 + offset] for offset in range(4)], axis=1)
    dense = (_spline_weights(samples) @ neighbours).reshape(-1, 2)
    return dense if closed else np.concatenate([dense, knots[-1:]])


def cloud(rng: np.random.Generator, cells: int, size: int) -> Field:
    """Draw smooth noise; the same generator gives the same cloud at every `size`.

    Args:
        rng: source of the noise; `cells * cells` normal numbers are taken.
        cells: independent values along a side.
        size: side length in pixels.

    Returns:
        float32 `[size, size]`, about zero mean and unit variance.
    """
    coarse = rng.standard_normal((cells, cells)).astype(np.float32)
    return cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)


@cache
def _spline_weights(samples: int) -> npt.NDArray[np.float64]:
    """Weights `[samples, 4]` of the four knots around a segment (Catmull-Rom)."""
    t = np.arange(samples) / samples
    powers = np.stack([np.ones_like(t), t, t**2, t**3], axis=1)
    return powers @ np.array([[0, 2, 0, 0], [-1, 0, 1, 0], [2, -5, 4, -1], [-1, 3, -3, 1]]) / 2


def _thicken(curve: Curve, start: float, end: float) -> Curve:
    along = np.empty_like(curve)
    along[1:-1] = curve[2:] - curve[:-2]
    along[0], along[-1] = curve[1] - curve[0], curve[-1] - curve[-2]
    half_width = np.linspace(start, end, len(curve)) / 2
    scale = half_width / np.maximum(np.hypot(along[:, 0], along[:, 1]), 1e-9)
    offset = along[:, ::-1] * np.array([-1.0, 1.0]) * scale[:, None]
    return np.concatenate([curve + offset, (curve - offset)[::-1]])
