"""Radiographs with the heat map of a phrase, side by side on one sheet."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from bundle.handlers.atomic import replacing

__all__ = ["CAUTION", "Seen", "draw_overlays"]

CAUTION = "Research software, not a medical device: its answers are no diagnosis."

_INCHES = 4.0  # longer side of one picture
_LETTERS = 90  # of a line
_NOTE = (
    "Colours: cosine of each place with the phrase, one scale for all images; the cross is the highest place of an "
    "image, which every image has, whether anything is there or not."
)


@dataclass(frozen=True)
class Seen:
    """What was seen on one image.

    Attributes:
        radiograph: `[H, W]`, any integer type.
        heat: `[H, W]` in [-1, 1], nan where the model sees nothing.
        caption: text above.
    """

    radiograph: np.ndarray
    heat: np.ndarray
    caption: str


def draw_overlays(seen: Sequence[Seen], title: str, path: str | Path) -> None:
    """Draw a row an image, alone and with its heat map, and write the sheet as PNG.

    Args:
        seen: the images, at least one.
        title: of the sheet.
        path: the PNG file.
    """
    lowest, highest = min(np.nanmin(one.heat) for one in seen), max(np.nanmax(one.heat) for one in seen)
    heights = [_INCHES * min(1.0, one.heat.shape[0] / one.heat.shape[1]) for one in seen]
    figure = Figure(figsize=(2.5 * _INCHES, sum(heights) + 0.4 * len(seen) + 1.2), layout="constrained")
    grid = figure.subplots(len(seen), 2, squeeze=False, height_ratios=heights)
    for (plain, overlaid), one in zip(grid, seen, strict=True):
        _radiograph(plain, one)
        _radiograph(overlaid, one)
        _glow(overlaid, one.heat, float(lowest), float(highest))
        plain.set_title(one.caption, fontsize="medium", loc="left")
    colours = ScalarMappable(Normalize(lowest, highest), "inferno")
    figure.colorbar(colours, ax=grid[:, 1].tolist(), label="cosine similarity to the phrase", shrink=0.8)
    figure.suptitle(textwrap.fill(title, _LETTERS))
    figure.supxlabel(textwrap.fill(f"{_NOTE} {CAUTION}", _LETTERS + 20), fontsize="small")
    with replacing(path) as partial:
        figure.savefig(partial, dpi=120)


def _radiograph(axis: Axes, one: Seen) -> None:
    axis.imshow(one.radiograph, cmap="gray")
    axis.axis("off")


def _glow(axis: Axes, heat: np.ndarray, lowest: float, highest: float) -> None:
    """A map over the radiograph, which stays clear where the map is low, and a cross at its highest place."""
    strength = np.nan_to_num((heat - lowest) / max(highest - lowest, 1e-12)) ** 2
    row, column = np.unravel_index(np.nanargmax(heat), heat.shape)
    axis.plot(column, row, "+", color="cyan", markersize=9)
    axis.imshow(heat, cmap="inferno", vmin=lowest, vmax=highest, alpha=0.65 * strength)
