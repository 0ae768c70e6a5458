"""How a phantom is photographed: projection, pose, exposure and grain."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from bundle.data.phantom_canvas import Canvas, Field, cloud

__all__ = ["Exposure", "develop", "sample_exposure"]

_MARKER = np.array([[0.925, 0.05], [0.937, 0.05], [0.937, 0.095], [0.96, 0.095], [0.96, 0.107], [0.925, 0.107]])
"""The letter L in the corner at the patient's left."""


@dataclass(frozen=True)
class Exposure:
    """How one picture was taken.

    Args:
        view: "PA" or "AP".
        angle: rotation in radians.
        zoom: magnification.
        shift: displacement (x, y) in units of the image side.
        gamma: of the film; above 1 darkens.
        black: density shown black.
        white: density shown white.
        grain: standard deviation of the noise.
        sharpness: sigma of the blur in units of the image side.
        marker: whether a letter marks the patient's left.
    """

    view: str
    angle: float
    zoom: float
    shift: tuple[float, float]
    gamma: float
    black: float
    white: float
    grain: float
    sharpness: float
    marker: bool


def sample_exposure(rng: np.random.Generator) -> Exposure:
    """Draw view, pose and exposure of one picture."""
    return Exposure(
        view="AP" if rng.random() < 0.35 else "PA",
        angle=float(np.deg2rad(np.clip(rng.normal(0, 2.0), -5, 5))),
        zoom=rng.uniform(0.95, 1.10),
        shift=(rng.normal(0, 0.012), rng.normal(0, 0.012)),
        gamma=rng.uniform(0.75, 1.4),
        black=rng.uniform(0.02, 0.09),
        white=rng.uniform(0.82, 1.08),
        grain=rng.uniform(0.010, 0.04),
        sharpness=rng.uniform(0.001, 0.003),
        marker=bool(rng.random() < 0.5),
    )


def develop(density: Field, exposure: Exposure, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Expose the film: blur, window, gamma, uneven beam and grain.

    Args:
        density: `[S, S]`, see `radiodensity`.
        exposure: of the picture.
        rng: source of the grain.

    Returns:
        uint8 `[S, S]`, bone bright.
    """
    size = len(density)
    if exposure.marker:
        density = np.maximum(density, 0.9 * Canvas(size).fill(_MARKER))
    density = cv2.GaussianBlur(density, (0, 0), max(exposure.sharpness * size, 0.35))
    uneven = 1 + 0.02 * cloud(rng, 3, size)
    shown = np.clip((density * uneven - exposure.black) / (exposure.white - exposure.black), 0, 1) ** exposure.gamma
    grain = exposure.grain * rng.standard_normal((size, size), np.float32)
    pixels = np.clip(shown + grain * (0.15 + 0.85 * (density > 0.05)), 0, 1)
    return np.round(pixels * 255).astype(np.uint8)
