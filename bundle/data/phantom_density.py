"""What the rays of a phantom meet: soft tissue, air, vessels, bone and findings add up to a density."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bundle.data import phantom_bones as bones
from bundle.data.phantom_anatomy import Anatomy, body_outline, breasts, knob, stomach_bubble
from bundle.data.phantom_canvas import Canvas, Curve, Field, cloud
from bundle.data.phantom_findings import SIDES
from bundle.data.phantom_lesions import Lesion, Thorax
from bundle.data.phantom_vessels import airways, hilum, vessels

__all__ = ["radiodensity"]

_TURN = np.linspace(0, 2 * np.pi, 24, endpoint=False)
_ROOT = np.stack([0.030 * np.cos(_TURN), 0.055 * np.sin(_TURN)], axis=1)
"""Outline of the lung's root about its centre."""


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
    outline = canvas.fill(body_outline(anatomy))
    air, markings = _air(thorax), _markings(canvas, anatomy)
    added = np.zeros_like(air)
    for lesion in lesions:
        air = air * (1 - lesion.filled) * (1 + 0.28 * lesion.bare * (1 - lesion.filled))
        markings = markings * (1 - lesion.bare) * (1 - 0.8 * lesion.filled)
        added = added + lesion.added
    tissue = _soft_tissue(canvas, anatomy, outline, thorax.heart)
    bone = _skeleton(canvas, anatomy, view)
    lung_share = np.clip(air, 0, 1)
    return outline * (tissue - 0.46 * air + markings * lung_share + bone * (0.4 + 0.6 * lung_share) + added)


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
        side_stems, side_branches = vessels(anatomy, side)
        stems += side_stems
        branches += side_branches
        roots.append(hilum(anatomy, side) + _ROOT)
    texture = cloud(np.random.default_rng(anatomy.branching), 64, canvas.size)
    drawn = 0.11 * canvas.band(stems, 0.016, 0.003) + 0.08 * canvas.band(branches, 0.008, 0.002)
    tree = canvas.blur(drawn, 0.003) + 0.17 * canvas.blur(canvas.fill(*roots), 0.018)
    return anatomy.vascular * (tree + 0.02 * texture)


def _soft_tissue(canvas: Canvas, anatomy: Anatomy, outline: Field, heart: Field) -> Field:
    thick = 1 - np.exp(-canvas.depth(outline) / 0.09)
    belly = _belly(canvas, anatomy)
    breast = canvas.blur(canvas.fill(*breasts(anatomy)), 0.012)
    windpipe = canvas.blur(canvas.band(airways(anatomy), 0.032, 0.022), 0.005)
    column = canvas.blur(canvas.fill(bones.spine(anatomy)), 0.02)
    middle = (
        0.09 * column
        + 0.05 * (1 - belly) * canvas.blur(heart, 0.012)
        + 0.03 * canvas.blur(canvas.fill(knob(anatomy)), 0.006)
    )
    hollow = 0.08 * windpipe + 0.07 * canvas.blur(canvas.fill(stomach_bubble(anatomy)), 0.007)
    return 0.24 + 0.34 * thick + 0.07 * belly * thick + 0.05 * breast + middle - hollow


def _belly(canvas: Canvas, anatomy: Anatomy) -> Field:
    """How much of each row lies below the diaphragm, `[S, 1]`."""
    rows = np.linspace(0, 1, canvas.size, dtype=np.float32)[:, None]
    return 1 / (1 + np.exp(-(rows - anatomy.apex - 0.9 * anatomy.height) / 0.05))


def _skeleton(canvas: Canvas, anatomy: Anatomy, view: str) -> Field:
    back = [rib for side in SIDES for rib in bones.posterior_ribs(anatomy, side)]
    front = [rib for side in SIDES for rib in bones.anterior_ribs(anatomy, side)]
    collar = [bones.clavicle(anatomy, side, view) for side in SIDES]
    blades = [bones.scapula(anatomy, side, view) for side in SIDES]
    ribs = 0.15 * _hollow(canvas, back, 0.026) + 0.08 * _hollow(canvas, front, 0.028)
    shoulders = 0.24 * _hollow(canvas, collar, 0.030) + 0.10 * canvas.blur(canvas.band(blades, 0.014, 0.012), 0.004)
    backbone = 0.08 * canvas.blur(canvas.fill(*bones.vertebrae(anatomy)), 0.005)
    return anatomy.bony * ribs * (1 - 0.7 * _belly(canvas, anatomy)) + shoulders + backbone


def _hollow(canvas: Canvas, curves: list[Curve], width: float) -> Field:
    """Bones with a bright rim, as tubes look in projection."""
    return canvas.blur(
        canvas.band(curves, width, width) - 0.45 * canvas.band(curves, width * 0.55, width * 0.55), 0.002
    )
