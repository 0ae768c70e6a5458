"""From outlines to brightness: soft tissue, air, bone and vessels, then the exposure of the picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from bundle.data import phantom_anatomy as body
from bundle.data.phantom_anatomy import Anatomy
from bundle.data.phantom_canvas import Canvas, Curve, Field, cloud
from bundle.data.phantom_findings import SIDES
from bundle.data.phantom_lesions import Lesion, Thorax

__all__ = ["Exposure", "develop", "radiodensity", "sample_exposure"]


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


def radiodensity(thorax: Thorax, view: str, lesions: Sequence[Lesion]) -> Field:
    """Add up what the rays meet.

    Findings displace air and lung markings instead of being painted on top, so that a root behind fluid or a
    consolidation against the heart is never brighter than what lies there.

    Args:
        thorax: heart and lungs as laid out.
        view: "PA" or "AP".
        lesions: drawn findings.

    Returns:
        Density float32 `[S, S]`, 0 in air outside the body, about 1 in the densest bone.
    """
    canvas, anatomy = thorax.canvas, thorax.anatomy
    outline = canvas.fill(body.body_outline(anatomy))
    air, markings = _air(thorax), _markings(canvas, anatomy)
    added = np.zeros_like(air)
    for lesion in lesions:
        air = air * (1 - lesion.filled) * (1 + 0.28 * lesion.bare * (1 - lesion.filled))
        markings = markings * (1 - lesion.bare) * (1 - 0.8 * lesion.filled)
        added = added + lesion.added
    tissue = _soft_tissue(canvas, anatomy, outline, thorax.heart)
    bone = _bones(canvas, anatomy, view)
    lung_share = np.clip(air, 0, 1)
    return outline * (tissue - 0.46 * air + markings * lung_share + bone * (0.4 + 0.6 * lung_share) + added)


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


def _air(thorax: Thorax) -> Field:
    """Air that the rays cross, 1 in the middle of a lung; haze takes some of it unevenly."""
    canvas, anatomy = thorax.canvas, thorax.anatomy
    patches = 0.10 * cloud(np.random.default_rng(anatomy.branching), 9, canvas.size)
    air = np.zeros((canvas.size, canvas.size), np.float32)
    for lung in thorax.lungs.values():
        deep = 1 - np.exp(-canvas.depth(lung) / 0.07)
        air += lung * (0.62 + 0.38 * canvas.blur(deep, 0.01))
    return air * (1 - anatomy.haze * np.clip(patches, 0, 1))


def _markings(canvas: Canvas, anatomy: Anatomy) -> Field:
    stems, branches, roots = [], [], []
    for side in SIDES:
        side_stems, side_branches = body.vessels(anatomy, side)
        stems += side_stems
        branches += side_branches
        roots.append(body.hilum(anatomy, side) + _ELLIPSE * np.array([0.030, 0.055]))
    texture = cloud(np.random.default_rng(anatomy.branching), 64, canvas.size)
    drawn = 0.11 * canvas.band(stems, 0.016, 0.003) + 0.08 * canvas.band(branches, 0.008, 0.002)
    tree = canvas.blur(drawn, 0.003) + 0.17 * canvas.blur(canvas.fill(*roots), 0.018)
    return anatomy.vascular * (tree + 0.02 * texture)


def _soft_tissue(canvas: Canvas, anatomy: Anatomy, outline: Field, heart: Field) -> Field:
    thick = 1 - np.exp(-canvas.depth(outline) / 0.09)
    belly = _belly(canvas, anatomy)
    breast = canvas.blur(canvas.fill(*body.breasts(anatomy)), 0.012)
    knob = canvas.fill(body.knob(anatomy))
    windpipe = canvas.blur(canvas.band(body.airways(anatomy), 0.032, 0.022), 0.005)
    column = canvas.blur(canvas.fill(_column(anatomy)), 0.02)
    middle = 0.09 * column + 0.05 * (1 - belly) * canvas.blur(heart, 0.012) + 0.03 * canvas.blur(knob, 0.006)
    hollow = 0.08 * windpipe + 0.07 * canvas.blur(canvas.fill(body.stomach_bubble(anatomy)), 0.007)
    return 0.24 + 0.34 * thick + 0.07 * belly * thick + 0.05 * breast + middle - hollow


def _belly(canvas: Canvas, anatomy: Anatomy) -> Field:
    """How much of each row lies below the diaphragm, `[S, 1]`."""
    rows = np.linspace(0, 1, canvas.size, dtype=np.float32)[:, None]
    return 1 / (1 + np.exp(-(rows - anatomy.apex - 0.9 * anatomy.height) / 0.05))


def _bones(canvas: Canvas, anatomy: Anatomy, view: str) -> Field:
    back = [rib for side in SIDES for rib in body.posterior_ribs(anatomy, side)]
    front = [rib for side in SIDES for rib in body.anterior_ribs(anatomy, side)]
    collar = [body.clavicle(anatomy, side, view) for side in SIDES]
    blades = [body.scapula(anatomy, side, view) for side in SIDES]
    ribs = 0.15 * _hollow(canvas, back, 0.026) + 0.08 * _hollow(canvas, front, 0.028)
    shoulders = 0.24 * _hollow(canvas, collar, 0.030) + 0.10 * canvas.blur(canvas.band(blades, 0.014, 0.012), 0.004)
    return anatomy.bony * ribs * (1 - 0.7 * _belly(canvas, anatomy)) + shoulders + _vertebrae(canvas, anatomy)


def _hollow(canvas: Canvas, curves: list[Curve], width: float) -> Field:
    """Bones with a bright rim, as tubes look in projection."""
    return canvas.blur(
        canvas.band(curves, width, width) - 0.45 * canvas.band(curves, width * 0.55, width * 0.55), 0.002
    )


def _vertebrae(canvas: Canvas, anatomy: Anatomy) -> Field:
    half, pitch = 0.036, 0.052
    discs = [
        np.array([[-half, y], [half, y], [half * 0.9, y + 0.75 * pitch], [-half * 0.9, y + 0.75 * pitch]])
        + np.array([anatomy.middle, 0.0])
        for y in np.arange(-0.1, 1.1, pitch)
    ]
    return 0.08 * canvas.blur(canvas.fill(*discs), 0.005)


def _column(anatomy: Anatomy) -> Curve:
    half = 0.075
    return np.array([[-half, -0.2], [half, -0.2], [half, 1.2], [-half, 1.2]]) + np.array([anatomy.middle, 0.0])


_TURN = np.linspace(0, 2 * np.pi, 24, endpoint=False)
_ELLIPSE = np.stack([np.cos(_TURN), np.sin(_TURN)], axis=1)
_MARKER = np.array([[0.925, 0.05], [0.937, 0.05], [0.937, 0.095], [0.96, 0.095], [0.96, 0.107], [0.925, 0.107]])
"""The letter L in the corner at the patient's left."""
