"""Figures against the number of labels: what weights to start from are worth."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullFormatter, NullLocator

from bundle.handlers.atomic import replacing
from scripts.tabulating.runs import Run, TableError

__all__ = ["draw_efficiency", "efficiency_lines"]

Point = tuple[float, dict[str, Any]]

_APART = 1.03  # between lines at the same place, so that their bars do not cover each other
_AXES = {"fraction": "training labels, %"}


def efficiency_lines(runs: Sequence[Run], metric: str, x: str) -> dict[str, list[Point]]:
    """One line for each start, stage, list and protocol.

    Args:
        runs: runs that have the metric and the number `x`; those without the metric are left out.
        metric: name of the metric.
        x: name of a number of the runs, such as `fraction`.

    Returns:
        By the line's name, points of ascending x: x and the metric's entry.

    Raises:
        TableError: when no run has the metric, a number is missing or not positive, or two runs are the same point.
    """
    measured = [run for run in runs if run.results["metrics"].get(metric, {}).get("value") is not None]
    if not measured:
        raise TableError(f"no run has a value of '{metric}' to plot")
    alike = _all_alike(runs)
    lines: dict[str, dict[float, Run]] = {}
    for run in measured:
        line = lines.setdefault(run.start if alike else f"{run.start} ({_described(run)})", {})
        place = run.number(x)
        if place is None or place <= 0:
            raise TableError(f"{run.folder}: neither results.json nor config.yaml has a number '{x}' greater than 0")
        if place in line:
            raise TableError(f"{line[place].folder} and {run.folder} have the same start and {x}: plot one of them")
        line[place] = run
    return {
        name: [(place, dict(line[place].results["metrics"][metric])) for place in sorted(line)]
        for name, line in sorted(lines.items())
    }


def _all_alike(runs: Sequence[Run]) -> bool:
    """Whether one title tells what all runs were evaluated on."""
    return len({run.evaluation for run in runs}) == 1


def _described(run: Run) -> str:
    stage, name, sha256, protocol = run.evaluation
    return f"{stage}, {name} {sha256[:6]}, {protocol}"


def draw_efficiency(runs: Sequence[Run], metric: str, x: str, path: Path) -> None:
    """Plot a metric against the number of labels on a logarithmic axis, with 95 % intervals as bars.

    Args:
        runs: see `efficiency_lines`.
        metric: name of the metric.
        x: name of a number of the runs.
        path: the picture; its ending says which kind.

    Raises:
        TableError: see `efficiency_lines`; or when matplotlib writes no such kind of picture.
    """
    lines = efficiency_lines(runs, metric, x)
    figure = Figure(figsize=(7, 5.5), layout="constrained")
    axis = figure.subplots()
    for number, (name, points) in enumerate(lines.items()):
        shift = _APART ** (number - (len(lines) - 1) / 2)
        xs, values = [place * shift for place, _ in points], [entry["value"] for _, entry in points]
        axis.errorbar(xs, values, yerr=_bars(points), label=name, marker="o", markersize=4, capsize=3, linewidth=1.5)
    axis.set_xscale("log")
    ticks = sorted({place for points in lines.values() for place, _ in points})
    axis.xaxis.set_major_locator(FixedLocator(ticks))
    axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axis.xaxis.set_minor_locator(NullLocator())
    axis.xaxis.set_minor_formatter(NullFormatter())
    title = _described(runs[0]) if _all_alike(runs) else ""
    axis.set(xlabel=_AXES.get(x, x), ylabel=f"{metric}, bars: 95 % intervals", title=title)
    axis.grid(alpha=0.3)
    figure.legend(loc="outside lower center", ncols=1 if not title else 2, fontsize="small")
    if path.suffix.lstrip(".") not in figure.canvas.get_supported_filetypes():
        raise TableError(f"{path}: pictures cannot be written with this ending; take .png, .svg or .pdf")
    with replacing(path) as partial:
        figure.savefig(partial, dpi=150)


def _bars(points: Sequence[Point]) -> list[list[float]]:
    """Lengths of the bars below and above each point; none where there is no interval."""
    below, above = [], []
    for _, entry in points:
        known = entry["low"] is not None and entry["high"] is not None
        below.append(max(0.0, entry["value"] - entry["low"]) if known else 0.0)
        above.append(max(0.0, entry["high"] - entry["value"]) if known else 0.0)
    return [below, above]
