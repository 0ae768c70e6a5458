"""The figures of a sweep as Markdown for people and as CSV for programs."""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence

from scripts.sweeping.figures import Difference, Figures, compare
from scripts.sweeping.jobs import Cell, Job
from scripts.sweeping.records import record
from scripts.sweeping.sweep_file import Sweep

__all__ = ["csv_table", "markdown_table"]


def markdown_table(sweep: Sweep, figures: Figures, cells: Sequence[Cell]) -> str:
    """Two tables and what they cost.

    The first has the mean over the seeds and, behind it, their sample deviation; the second each variant minus the
    baseline, paired by seed, with a 95 % interval (t), in bold where 0 lies outside.

    Args:
        sweep: the sweep.
        figures: what its cells have measured.
        cells: its cells.
    """
    measures = list(sweep.measures)
    lines = [f"# {sweep.name}", "", *([sweep.about, ""] if sweep.about else [])]
    lines += _grid(["variant", "cells", *measures], _means(sweep, figures))
    lines += ["", f"Minus `{sweep.baseline}`, paired by seed, with 95 % intervals (t over the seeds):", ""]
    lines += _grid(["variant", *measures], _differences(sweep, figures))
    seeds = ", ".join(map(str, sweep.seeds))
    return "\n".join([*lines, "", f"Seeds {seeds}. {_cost(cells)}"]) + "\n"


def _grid(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    escaped = ([cell.replace("|", "\\|") for cell in row] for row in [head, ["---"] * len(head), *rows])
    return [f"| {' | '.join(row)} |" for row in escaped]


def _means(sweep: Sweep, figures: Figures) -> Iterator[list[str]]:
    for variant, measured in figures.values.items():
        count = f"{figures.cells[variant]} of {len(sweep.seeds)}"
        yield [variant, count, *(_mean(values, len(sweep.seeds)) for values in measured.values())]


def _mean(values: Mapping[int, float], seeds: int) -> str:
    if not values:
        return ""
    text = f"{statistics.fmean(values.values()):.3f}"
    if len(values) > 1:
        text += f" ± {statistics.stdev(values.values()):.3f}"
    return text if len(values) == seeds else f"{text} ({len(values)})"


def _differences(sweep: Sweep, figures: Figures) -> Iterator[list[str]]:
    baseline = figures.values[sweep.baseline]
    for variant, measured in figures.values.items():
        if variant != sweep.baseline:
            yield [variant, *(_difference(compare(measured[name], baseline[name])) for name in sweep.measures)]


def _difference(difference: Difference | None) -> str:
    if difference is None:
        return ""
    if difference.low is None:
        return f"{difference.mean:+.3f}"
    text = f"{difference.mean:+.3f} [{difference.low:+.3f}, {difference.high:+.3f}]"
    return f"**{text}**" if difference.is_sure else text


def _cost(cells: Sequence[Cell]) -> str:
    jobs: dict[Job, None] = {job: None for cell in cells for job in cell.jobs.values()}
    records = [record(job) for job in jobs]
    seconds = {
        name: sum(sitting[name] for entry in records for sitting in entry["sittings"])
        for name in ("seconds", "cpu_seconds")
    }
    done = sum(entry["done"] for entry in records)
    return (
        f"{done} of {len(jobs)} steps are done; they took {seconds['cpu_seconds'] / 60:.0f} CPU minutes, "
        f"{seconds['seconds'] / 60:.0f} minutes if one had followed the other."
    )


def csv_table(sweep: Sweep, figures: Figures) -> str:
    """One row a variant and measure with all digits; a column a seed holds the single values."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    numbers = ["mean", "deviation", "difference", "low", "high", "pairs"]
    writer.writerow(["sweep", "variant", "measure", *numbers, *(f"seed_{seed}" for seed in sweep.seeds)])
    for variant, measured in figures.values.items():
        for measure, values in measured.items():
            difference = compare(values, figures.values[sweep.baseline][measure]) if variant != sweep.baseline else None
            row = [sweep.name, variant, measure, *_numbers(values, difference)]
            writer.writerow([*row, *(values.get(seed) for seed in sweep.seeds)])
    return file.getvalue()


def _numbers(values: Mapping[int, float], difference: Difference | None) -> list[float | None]:
    mean = statistics.fmean(values.values()) if values else None
    deviation = statistics.stdev(values.values()) if len(values) > 1 else None
    if difference is None:
        return [mean, deviation, None, None, None, None]
    return [mean, deviation, difference.mean, difference.low, difference.high, difference.seeds]
