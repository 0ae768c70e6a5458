"""How each finding looks: which part of the lung it takes from the air, and the truth mask of what is seen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bundle.data.phantom_anatomy import Anatomy, free_span, lung_floor, lung_outline, place, wall, zone_bounds
from bundle.data.phantom_canvas import Canvas, Curve, Field, cloud, smooth_curve
from bundle.data.phantom_findings import Finding
from bundle.data.phantom_vessels import hilum

__all__ = ["HEART_RATIO", "Lesion", "Thorax", "draw_lesion"]

HEART_RATIO = {"small": 0.56, "moderate": 0.61, "large": 0.66}
"""Cardiothoracic ratio of an enlarged heart by size; a normal heart stays below .48."""

_CONSOLIDATION_RADIUS = {"small": 0.062, "moderate": 0.082, "large": 0.105}
_CONSOLIDATED = (0.55, 0.9)
"""Least and largest mean share of air that a consolidation displaces."""
_SOLID = (0.6, 1.0)
"""The same for a nodule, in parts of the densest."""
_NODULE_RADIUS = {"small": 0.021, "moderate": 0.027, "large": 0.036}
_FLUID_HEIGHT = {"small": (0.01, -0.12), "moderate": (0.20, 0.05), "large": (0.42, 0.24)}
"""How far the fluid stands above the top of the diaphragm in v, at the chest wall and at the heart."""
_AIR_RIM = {
    "small": (0.16, 0.55),
    "moderate": (0.25, 0.8),
    "large": (0.38, 1.0),
}  # widest rim in u, lowest part of wall


@dataclass(frozen=True, eq=False)
class Thorax:
    """What a finding needs to know of the body it is drawn into.

    Args:
        canvas: where it is drawn.
        anatomy: of the patient.
        heart_ratio: of the heart that is drawn, enlarged or not.
        heart: coverage `[S, S]` in 0..1.
        lungs: visible lung by side, coverage `[S, S]` in 0..1.
    """

    canvas: Canvas
    anatomy: Anatomy
    heart_ratio: float
    heart: Field
    lungs: dict[str, Field]


@dataclass(frozen=True, eq=False)
class Lesion:
    """A drawn finding; all fields `[S, S]`.

    Args:
        mask: truth, bool; a part of the visible lung, or the heart.
        filled: share of the air that it displaces, 0..1.
        added: brightness that it adds.
        bare: share of lung markings that it removes, 0..1.
    """

    mask: npt.NDArray[np.bool_]
    filled: Field
    added: Field
    bare: Field


def draw_lesion(thorax: Thorax, finding: Finding, rng: np.random.Generator) -> Lesion:
    """Draw a finding.

    Args:
        thorax: the body; its visible lungs bound the mask.
        finding: what to draw, and where.
        rng: decides form and exact place; the same stream gives the same form on either side.
    """
    return _DRAWN[finding.name](thorax, finding, rng)


def _consolidation(thorax: Thorax, finding: Finding, rng: np.random.Generator) -> Lesion:
    canvas = thorax.canvas
    radius = _CONSOLIDATION_RADIUS[finding.size]
    centre = _spot(thorax, finding, 0.75 * radius, rng)
    patches = [_blob(centre + rng.normal(0, 0.45 * radius, 2), radius * rng.uniform(0.4, 0.75), rng) for _ in range(5)]
    lung = thorax.lungs[str(finding.side)]
    soft = canvas.blur(canvas.fill(_blob(centre, 0.8 * radius, rng), *patches), 0.014)
    mottled = np.clip(rng.uniform(*_CONSOLIDATED) + 0.08 * cloud(rng, 40, canvas.size), 0, 0.95)
    empty = np.zeros_like(soft)
    return Lesion((soft > 0.45) & (lung > 0.5), soft * mottled, empty, empty)


def _nodule(thorax: Thorax, finding: Finding, rng: np.random.Generator) -> Lesion:
    canvas = thorax.canvas
    radius, solid = _NODULE_RADIUS[finding.size] * rng.uniform(0.95, 1.1), rng.uniform(*_SOLID)
    centre = _spot(thorax, finding, 1.6 * radius, rng)
    lung = thorax.lungs[str(finding.side)]
    disc = canvas.fill(_blob(centre, radius, rng, roughness=0.05))
    soft = canvas.blur(disc, 0.003)
    return Lesion((disc > 0.5) & (lung > 0.5), 0.9 * solid * soft, 0.08 * solid * soft * lung, np.zeros_like(soft))


def _effusion(thorax: Thorax, finding: Finding, rng: np.random.Generator) -> Lesion:
    canvas, side = thorax.canvas, str(finding.side)
    height = np.array(_FLUID_HEIGHT[finding.size]) + rng.uniform(-0.02, 0.03)
    at_wall, at_heart = lung_floor(thorax.anatomy, side) - height
    u = np.linspace(0, 1.1, 24)
    surface = at_heart - (at_heart - at_wall) * u ** rng.uniform(2.0, 3.2)
    fluid = np.concatenate([np.stack([u, surface], 1), [(1.1, 1.3), (0.0, 1.3)]])
    lung = thorax.lungs[side]
    soft = canvas.blur(canvas.fill(place(thorax.anatomy, side, fluid)), 0.006)
    return Lesion((soft > 0.5) & (lung > 0.5), soft, 0.04 * soft * lung, 0.8 * soft)


def _pneumothorax(thorax: Thorax, finding: Finding, rng: np.random.Generator) -> Lesion:
    canvas, side = thorax.canvas, str(finding.side)
    width, depth = (value * rng.uniform(0.9, 1.1) for value in _AIR_RIM[finding.size])
    outer = wall(thorax.anatomy, side)[8:]  # from the top of the lung outwards
    edge = _collapsed_edge(thorax, side, outer, width * thorax.anatomy.half_width, min(depth, 1.0))
    lung = thorax.lungs[side]
    # the rim is closed beyond the chest wall, so that no lung is left between the two
    beyond = outer + (outer - hilum(thorax.anatomy, side)) * 0.3
    rim = canvas.fill(np.concatenate([edge, beyond[::-1]])) * lung
    line = canvas.band([edge], 0.007, 0.007) * lung
    squeezed = canvas.fill(lung_outline(thorax.anatomy, side)) * (1 - rim) * width * 0.4
    return Lesion((rim > 0.5) & (lung > 0.5), squeezed, 0.20 * canvas.blur(line, 0.0015), rim)


def _cardiomegaly(thorax: Thorax, finding: Finding, rng: np.random.Generator) -> Lesion:
    """The heart has been laid out large already; its truth is the heart."""
    empty = np.zeros_like(thorax.heart)
    return Lesion(thorax.heart > 0.5, empty, empty, empty)


_DRAWN: dict[str, Callable[[Thorax, Finding, np.random.Generator], Lesion]] = {
    "cardiomegaly": _cardiomegaly,
    "consolidation": _consolidation,
    "nodule": _nodule,
    "pleural effusion": _effusion,
    "pneumothorax": _pneumothorax,
}


def _spot(thorax: Thorax, finding: Finding, margin: float, rng: np.random.Generator) -> Curve:
    """A place `[1, 2]` in the finding's zone, `margin` from heart, chest wall and diaphragm where there is room."""
    anatomy, side = thorax.anatomy, str(finding.side)
    down, across = rng.uniform(0, 1, 2)
    top, bottom = zone_bounds(anatomy, side, str(finding.zone))
    v = _between(max(top, 0.06), bottom, margin / anatomy.height, down)
    inner, outer = free_span(anatomy, side, v, thorax.heart_ratio)
    # the root of the lung is bright by itself: stay lateral of it
    inner = max(inner, 0.42 if finding.zone == "middle" else inner)
    return place(anatomy, side, [(_between(inner, outer, margin / anatomy.half_width, across), v)])


def _between(low: float, high: float, margin: float, share: float) -> float:
    if high - low <= 2 * margin:
        return (low + high) / 2
    return low + margin + share * (high - low - 2 * margin)


def _blob(centre: Curve, radius: float, rng: np.random.Generator, roughness: float = 0.16) -> Curve:
    turn = np.linspace(0, 2 * np.pi, 10, endpoint=False)
    reach = radius * (1 + roughness * rng.standard_normal(10))[:, None]
    return smooth_curve(centre + reach * np.stack([np.cos(turn), np.sin(turn)], axis=1), closed=True, samples=5)


def _collapsed_edge(thorax: Thorax, side: str, outer: Curve, width: float, depth: float) -> Curve:
    along = np.linspace(0, 1, len(outer)) / depth
    # widest above, closing smoothly towards the base
    share = np.where(along < 0.25, 0.45 + 0.55 * np.sin(2 * np.pi * along), np.cos((along - 0.25) / 0.75 * np.pi / 2))
    inward = place(thorax.anatomy, side, [(0.3, 0.5)]) - outer
    inward /= np.linalg.norm(inward, axis=1, keepdims=True)
    return (outer + inward * width * share[:, None])[along <= 1]
