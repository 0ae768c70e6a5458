"""The skeleton of a phantom as curves: ribs, collar bones, shoulder blades and spine."""

from __future__ import annotations

import numpy as np

from bundle.data.phantom_anatomy import Anatomy, place
from bundle.data.phantom_canvas import Curve, smooth_curve

__all__ = ["anterior_ribs", "clavicle", "posterior_ribs", "scapula", "spine", "vertebrae"]


def posterior_ribs(anatomy: Anatomy, side: str) -> list[Curve]:
    """The back halves of nine ribs, from the spine outwards and down."""
    return [smooth_curve(place(anatomy, side, _back_half(0.01 + 0.104 * k, anatomy.slope))) for k in range(9)]


def anterior_ribs(anatomy: Anatomy, side: str) -> list[Curve]:
    """The front halves of six ribs, from the chest wall inwards and down."""
    return [smooth_curve(place(anatomy, side, _front_half(0.16 + 0.125 * k, anatomy.slope))) for k in range(6)]


def clavicle(anatomy: Anatomy, side: str, view: str) -> Curve:
    """An open curve from the breastbone to the shoulder; it lies higher and flatter on an AP picture."""
    rise = 0.05 if view == "AP" else 0.0
    points = ((0.11, 0.10 - rise), (0.34, 0.10 - rise), (0.62, 0.02 - rise), (0.95, -0.02 - rise), (1.25, -0.04))
    return smooth_curve(place(anatomy, side, points))


def scapula(anatomy: Anatomy, side: str, view: str) -> Curve:
    """The inner edge of the shoulder blade, an open curve; on an AP picture it lies over the lung."""
    inward = 0.14 if view == "AP" else 0.0
    points = ((1.12 - inward, -0.01), (1.02 - inward, 0.16), (1.03 - inward, 0.34), (1.12 - inward, 0.50))
    return smooth_curve(place(anatomy, side, points))


def vertebrae(anatomy: Anatomy) -> list[Curve]:
    """The bodies of the vertebrae, closed outlines one below the other."""
    half, pitch = 0.036, 0.052
    top = np.array([[-half, 0.0], [half, 0.0], [0.9 * half, 0.75 * pitch], [-0.9 * half, 0.75 * pitch]])
    return [top + np.array([anatomy.middle, y]) for y in np.arange(-0.1, 1.1, pitch)]


def spine(anatomy: Anatomy) -> Curve:
    """The bright column of spine and breastbone, one closed outline."""
    column = np.array([[-0.075, -0.2], [0.075, -0.2], [0.075, 1.2], [-0.075, 1.2]])
    return column + np.array([anatomy.middle, 0.0])


def _back_half(v: float, slope: float) -> list[tuple[float, float]]:
    edge = float(np.interp(v + 0.15, [-0.1, 0.05, 0.17, 0.36, 0.6, 0.82], [0.5, 0.62, 0.78, 0.9, 0.97, 1.0]))
    return [(0.08, v), (0.45 * edge, v - 0.015), (0.8 * edge, v + 0.06 * slope), (edge, v + 0.16 * slope)]


def _front_half(v: float, slope: float) -> list[tuple[float, float]]:
    edge = float(np.interp(v, [0.05, 0.17, 0.36, 0.6, 0.82], [0.62, 0.78, 0.9, 0.97, 1.0]))
    return [(edge, v), (0.86 * edge, v + 0.09 * slope), (0.62 * edge, v + 0.15 * slope), (0.4 * edge, v + 0.18 * slope)]
