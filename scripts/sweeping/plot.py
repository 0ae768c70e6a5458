"""The figures of a sweep as a picture: every seed a point, every variant its mean."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bundle.handlers.atomic import replacing
from scripts.sweeping.figures import Figures
from scripts.sweeping.sweep_file import Sweep

__all__ = ["draw"]

_COLUMNS = 3
_INCHES = (4.2, 3.0)  # of a panel


def draw(sweep: Sweep, figures: Figures, path: Path) -> None:
    """Draw one panel a measure. Points of one seed are joined, so that it shows whether all seeds say the same.

    Args:
        sweep: the sweep.
        figures: what its cells have measured.
        path: the PNG file.
    """
    columns = min(_COLUMNS, len(sweep.measures))
    rows = -(-len(sweep.measures) // columns)
    figure = Figure(figsize=(columns * _INCHES[0], rows * _INCHES[1]), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).flatten()
    for axis, measure in zip(panels, sweep.measures, strict=False):
        _panel(axis, measure, {variant: measured[measure] for variant, measured in figures.values.items()}, sweep)
    for axis in panels[len(sweep.measures) :]:
        axis.set_visible(False)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels) or 1, fontsize="small")
    figure.suptitle(f"{sweep.name}: points are seeds, bars their means; dotted: {sweep.baseline}", fontsize="medium")
    with replacing(path) as partial:
        figure.savefig(partial, dpi=120)


def _panel(axis: Axes, measure: str, values: Mapping[str, Mapping[int, float]], sweep: Sweep) -> None:
    places = {variant: place for place, variant in enumerate(values)}
    for seed in sweep.seeds:
        points = {places[variant]: found[seed] for variant, found in values.items() if seed in found}
        axis.plot(list(points), list(points.values()), marker="o", markersize=4, linewidth=0.6, label=f"seed {seed}")
    for variant, found in values.items():
        if found:
            axis.hlines(statistics.fmean(found.values()), places[variant] - 0.3, places[variant] + 0.3, color="black")
    if baseline := values[sweep.baseline]:
        axis.axhline(statistics.fmean(baseline.values()), color="grey", linestyle=":", linewidth=1)
    axis.set_xticks(list(places.values()), list(places), rotation=30, ha="right", fontsize="small")
    axis.set_title(measure, fontsize="medium")
    axis.set_xlim(-0.5, len(places) - 0.5)
    axis.grid(axis="y", alpha=0.3)
