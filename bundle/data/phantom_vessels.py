"""Airways and the vascular tree of a phantom as curves."""

from __future__ import annotations

import numpy as np

from bundle.data.phantom_anatomy import Anatomy, place
from bundle.data.phantom_canvas import Curve, smooth_curve

__all__ = ["airways", "hilum", "vessels"]


def hilum(anatomy: Anatomy, side: str) -> Curve:
    """Centre `[1, 2]` of the lung's root; the left one stands a little higher."""
    return place(anatomy, side, [(0.25, 0.43 if side == "left" else 0.46)])


def airways(anatomy: Anatomy) -> list[Curve]:
    """Windpipe and both main bronchi as open curves."""
    windpipe = [(0.0, -0.25), (0.0, 0.0), (-0.015, 0.2), (-0.02, 0.335)]
    bronchi = ([(-0.02, 0.32), (-0.10, 0.40), (-0.20, 0.46)], [(-0.02, 0.32), (0.10, 0.385), (0.21, 0.42)])
    return [smooth_curve(place(anatomy, "left", points)) for points in (windpipe, *bronchi)]


def vessels(anatomy: Anatomy, side: str) -> tuple[list[Curve], list[Curve]]:
    """The vascular tree of one lung: stems from the root, and their branches, as open curves."""
    rng = np.random.default_rng([anatomy.branching, side == "left"])
    root = hilum(anatomy, side)[0]
    outward = 1.0 if side == "left" else -1.0
    stems, branches = [], []
    for direction in np.deg2rad([-78, -52, -26, 2, 28, 52, 72, 86]) + rng.normal(0, 0.09, 8):
        length = rng.uniform(0.14, 0.23) * anatomy.height / 0.62
        stem = _tendril(root, direction, length, outward, rng)
        stems.append(stem)
        for start in (0.35, 0.6):
            fork = stem[int(start * len(stem))]
            turn = direction + rng.choice([-1, 1]) * rng.uniform(0.35, 0.75)
            branches.append(_tendril(fork, turn, length * rng.uniform(0.45, 0.7), outward, rng))
    return stems, branches


def _tendril(start: Curve, direction: float, length: float, outward: float, rng: np.random.Generator) -> Curve:
    steps = np.linspace(0, 1, 4)
    angles = direction + rng.normal(0, 0.12, 4) * steps
    points = start + length * steps[:, None] * np.stack([outward * np.cos(angles), np.sin(angles)], axis=1)
    return smooth_curve(points, samples=6)
