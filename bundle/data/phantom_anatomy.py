"""The body of a phantom: a few drawn proportions, and the outlines that follow from them.

Outlines are first written in thorax coordinates (u, v): u is the distance from the midline in half widths of the
rib cage (0 midline, 1 chest wall), v runs from the top of the lung (0) to the costophrenic angle (1). `place` maps
them to the unit square on the side asked for; the patient's left is on the image's right.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from bundle.data.phantom_canvas import Curve, smooth_curve
from bundle.data.phantom_findings import ZONES

__all__ = [
    "Anatomy",
    "body_outline",
    "breasts",
    "free_span",
    "heart_outline",
    "knob",
    "lung_floor",
    "lung_outline",
    "place",
    "sample_anatomy",
    "stomach_bubble",
    "wall",
    "zone_bounds",
]

_WALL = ((0.30, 0.05), (0.42, 0.0), (0.60, 0.05), (0.76, 0.17), (0.88, 0.36), (0.955, 0.6), (0.99, 0.82), (0.985, 1.0))
_DIAPHRAGM = ((0.975, 1.0), (0.87, 0.91), (0.68, 0.86), (0.48, 0.85), (0.30, 0.875), (0.15, 0.92))
_MEDIAL = ((0.15, 0.92), (0.15, 0.75), (0.16, 0.55), (0.17, 0.38), (0.17, 0.25), (0.21, 0.13), (0.30, 0.05))


@dataclass(frozen=True)
class Anatomy:
    """Proportions of one patient, lengths in units of the image side.

    Args:
        middle: x of the midline.
        half_width: largest half width of the inner rib cage.
        apex: y of the top of the lungs.
        height: from the apex to the costophrenic angle; below .57 the lungs are poorly inflated.
        dome: how far the diaphragm bulges up, factor on the schematic shape.
        lift: the right dome stands higher than the left by this (v units).
        heart_ratio: width of the heart over the inner width of the rib cage.
        heart_right: share of the heart's width on the patient's right.
        fat: thickness of the chest wall.
        slope: how steeply the ribs run down, factor.
        knob_radius: radius of the aortic knob.
        breast: size of the breast shadows, 0 for none.
        bubble: radius of the air in the stomach, 0 for none.
        vascular: strength of the vessels, factor.
        bony: strength of the ribs, factor.
        haze: unevenness of the lungs, factor.
        branching: seed of the vascular tree and of the haze.
    """

    middle: float
    half_width: float
    apex: float
    height: float
    dome: float
    lift: float
    heart_ratio: float
    heart_right: float
    fat: float
    slope: float
    knob_radius: float
    breast: float
    bubble: float
    vascular: float
    bony: float
    haze: float
    branching: int

    @property
    def poorly_inflated(self) -> bool:
        """Whether the lungs are short enough for a reader to say so."""
        return self.height < 0.57


def sample_anatomy(rng: np.random.Generator) -> Anatomy:
    """Draw the proportions of a patient with a normal heart."""
    shallow = rng.random() < 0.2
    return Anatomy(
        middle=rng.uniform(0.485, 0.515),
        half_width=rng.uniform(0.345, 0.40),
        apex=rng.uniform(0.125, 0.165),
        height=rng.uniform(0.50, 0.55) if shallow else rng.uniform(0.60, 0.68),
        dome=rng.uniform(0.75, 1.25),
        lift=rng.uniform(0.015, 0.045),
        heart_ratio=rng.uniform(0.40, 0.475),
        heart_right=rng.uniform(0.28, 0.36),
        fat=rng.uniform(0.035, 0.08),
        slope=rng.uniform(0.8, 1.2),
        knob_radius=rng.uniform(0.028, 0.042),
        breast=rng.uniform(0.6, 1.0) if rng.random() < 0.4 else 0.0,
        bubble=rng.uniform(0.025, 0.05) if rng.random() < 0.5 else 0.0,
        vascular=rng.uniform(0.7, 1.6),
        bony=rng.uniform(0.6, 1.3),
        haze=rng.uniform(0.0, 1.0),
        branching=int(rng.integers(2**31)),
    )


def place(anatomy: Anatomy, side: str, points: Iterable[tuple[float, float]] | Curve) -> Curve:
    """Map thorax coordinates (u, v) `[N, 2]` to the unit square, on the patient's `side`."""
    u, v = np.asarray(points, np.float64).T
    direction = 1.0 if side == "left" else -1.0
    x = anatomy.middle + direction * u * anatomy.half_width
    return np.stack([x, anatomy.apex + v * anatomy.height], axis=1)


def wall(anatomy: Anatomy, side: str) -> Curve:
    """The inner chest wall in the unit square, from the top of the lung to the costophrenic angle."""
    return place(anatomy, side, smooth_curve(_WALL))


def lung_outline(anatomy: Anatomy, side: str) -> Curve:
    """The lung with what the heart hides of it, a closed outline in the unit square."""
    edges = (smooth_curve(_WALL), smooth_curve(_dome(anatomy, side)), smooth_curve(_MEDIAL))
    return place(anatomy, side, np.concatenate(edges))


def heart_outline(anatomy: Anatomy, ratio: float) -> Curve:
    """The heart as one closed outline in the unit square, the lower part of it before the abdomen.

    Args:
        anatomy: of the patient.
        ratio: width of the heart over the inner width of the rib cage (cardiothoracic ratio).
    """
    right = -2 * ratio * anatomy.heart_right
    left = 2 * ratio * (1 - anatomy.heart_right)
    points = (
        (-0.17, 0.42),
        (min(right * 0.72, -0.17), 0.52),
        (right * 0.97, 0.64),
        (right, 0.76),
        (right * 0.84, 0.89),
        (right * 0.40, 0.96),
        (left * 0.35, 0.985),
        (left * 0.82, 0.96),
        (left, 0.86),
        (left * 0.965, 0.75),
        (left * 0.82, 0.62),
        (left * 0.59, 0.51),
        (max(left * 0.36, 0.20), 0.42),
        (0.19, 0.35),
        (0.0, 0.30),
        (-0.16, 0.35),
    )
    return place(anatomy, "left", smooth_curve(points, closed=True))


def free_span(anatomy: Anatomy, side: str, v: float, ratio: float) -> tuple[float, float]:
    """Where the lung is free of the heart at height `v`.

    Returns:
        u of its inner and of its outer edge.
    """
    rib_cage = smooth_curve(_WALL)[10:]
    outer = float(np.interp(v, rib_cage[:, 1], rib_cage[:, 0]))
    heart = heart_outline(anatomy, ratio)
    near = np.abs(heart[:, 1] - (anatomy.apex + v * anatomy.height)) < 0.06 * anatomy.height
    reach = (heart[near, 0] - anatomy.middle) / anatomy.half_width * (1 if side == "left" else -1)
    return float(max([0.24, *reach])), outer


def lung_floor(anatomy: Anatomy, side: str) -> float:
    """The v of the top of the diaphragm."""
    return min(v for _, v in _dome(anatomy, side))


def zone_bounds(anatomy: Anatomy, side: str, zone: str) -> tuple[float, float]:
    """Top and bottom v of a third of the lung, counted from its apex to the top of the diaphragm."""
    floor = lung_floor(anatomy, side)
    third = ZONES.index(zone)
    return floor * third / 3, floor * (third + 1) / 3


def body_outline(anatomy: Anatomy) -> Curve:
    """Neck, shoulders and trunk, closed; the arms leave the picture at the sides."""
    flank = anatomy.half_width + anatomy.fat
    shoulder = anatomy.apex - 0.125
    half = smooth_curve(
        (
            (0.10, -0.12),
            (0.115, shoulder + 0.01),
            (0.20, shoulder + 0.075),
            (0.36, shoulder + 0.105),
            (0.50, shoulder + 0.165),
            (0.62, shoulder + 0.26),
            (0.70, 0.52),
            (0.53, 0.50),
            (flank + 0.03, 0.41),
            (flank + 0.005, 0.47),
            (flank, 0.60),
            (flank + 0.01, 0.80),
            (flank + 0.03, 1.15),
        )
    )
    mirrored = half[::-1] * np.array([-1.0, 1.0])
    return np.concatenate([half, mirrored]) + np.array([anatomy.middle, 0.0])


def knob(anatomy: Anatomy) -> Curve:
    """The aortic knob, a closed outline on the image's right of the upper mediastinum."""
    turn = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    circle = anatomy.knob_radius * np.stack([np.cos(turn), 1.25 * np.sin(turn)], axis=1)
    return place(anatomy, "left", [(0.13, 0.265)]) + circle


def stomach_bubble(anatomy: Anatomy) -> Curve:
    """Air in the stomach below the left dome, a closed outline with a level fluid surface; a point where it is 0."""
    turn = np.linspace(np.pi, 2 * np.pi, 16)
    dome = anatomy.bubble * np.stack([1.3 * np.cos(turn), np.sin(turn)], axis=1)
    return (
        place(anatomy, "left", [(0.48, lung_floor(anatomy, "left"))])
        + np.array([0.0, 1.5 * anatomy.bubble + 0.02])
        + dome
    )


def breasts(anatomy: Anatomy) -> list[Curve]:
    """Two closed outlines, none where `anatomy.breast` is 0."""
    if not anatomy.breast:
        return []
    turn = np.linspace(0, 2 * np.pi, 32, endpoint=False)
    disc = np.stack([0.46 * np.cos(turn), 0.24 * np.sin(turn)], axis=1) * anatomy.breast
    return [place(anatomy, side, disc + np.array([0.62, 0.80])) for side in ("left", "right")]


def _dome(anatomy: Anatomy, side: str) -> Sequence[tuple[float, float]]:
    lift = anatomy.lift if side == "right" else 0.0
    return [(u, 1 - (1 - v) * anatomy.dome - lift * (v < 1)) for u, v in _DIAPHRAGM]
