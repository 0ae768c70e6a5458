"""The figures of a sweep: each variant over its seeds, and against the baseline seed by seed."""

from __future__ import annotations

import json
import statistics
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from scipy.special import stdtrit

from scripts.sweeping.errors import SweepError
from scripts.sweeping.jobs import Cell
from scripts.sweeping.measures import Place
from scripts.sweeping.records import is_done
from scripts.sweeping.sweep_file import Sweep

__all__ = ["Difference", "Figures", "compare", "gather"]

_LEVEL = 0.95


@dataclass(frozen=True)
class Figures:
    """What the cells of a sweep that are done have measured.

    Attributes:
        values: by variant and measure, the value of each seed; a seed that has none is absent.
        cells: by variant, how many cells have all their steps done.
    """

    values: Mapping[str, Mapping[str, Mapping[int, float]]]
    cells: Mapping[str, int]


@dataclass(frozen=True)
class Difference:
    """A variant minus the baseline, paired by seed.

    Attributes:
        mean: mean of the differences.
        low: lower end of the 95 % interval (t over the seeds); none for a single seed.
        high: its upper end.
        seeds: number of seeds that both have.
    """

    mean: float
    low: float | None
    high: float | None
    seeds: int

    @property
    def is_sure(self) -> bool:
        """Whether the interval leaves 0 outside."""
        return self.low is not None and self.high is not None and not self.low <= 0 <= self.high


def gather(sweep: Sweep, cells: Sequence[Cell]) -> Figures:
    """Read the measures of all cells of a sweep.

    Raises:
        SweepError: when a step is done whose results have no such metric at all, for a wrong name would read as "not
            yet done".
    """
    values: dict[str, dict[str, dict[int, float]]] = {
        variant: {measure: {} for measure in sweep.measures} for variant in sweep.variants
    }
    finished = dict.fromkeys(sweep.variants, 0)
    for cell in cells:
        done = {step for step, job in cell.jobs.items() if is_done(job)}
        finished[cell.variant] += len(done) == len(cell.jobs)
        for title, measure in sweep.measures.items():
            value = measure.value(partial(_figure, cell, done, f"{sweep.name}: measure '{title}'"))
            if value is not None:
                values[cell.variant][title][cell.seed] = value
    return Figures(values, finished)


def _figure(cell: Cell, done: Collection[str], where: str, place: Place) -> float | None:
    """What stands at a place; none where the step is not done or the figure has no value."""
    if place.step not in done:
        return None
    product = cell.jobs[place.step].product
    metrics: Mapping[str, Any] = json.loads(product.read_text(encoding="utf-8"))["metrics"]
    if place.metric not in metrics:
        raise SweepError(f"{where}: {product} has no metric '{place.metric}'; it has {', '.join(sorted(metrics))}")
    return metrics[place.metric]["value"]


def compare(values: Mapping[int, float], baseline: Mapping[int, float]) -> Difference | None:
    """A variant minus the baseline, over the seeds that both have; none where there is no such seed.

    Args:
        values: of the variant, by seed.
        baseline: of the baseline, by seed.

    Example:
        >>> compare({0: 0.6, 1: 0.8}, {0: 0.5, 1: 0.6}).mean
        0.15
    """
    pairs = [values[seed] - baseline[seed] for seed in sorted(values.keys() & baseline.keys())]
    if not pairs:
        return None
    mean = statistics.fmean(pairs)
    if len(pairs) == 1:
        return Difference(mean, None, None, 1)
    half = float(stdtrit(len(pairs) - 1, (1 + _LEVEL) / 2)) * statistics.stdev(pairs) / len(pairs) ** 0.5
    return Difference(mean, mean - half, mean + half, len(pairs))
