"""How the variants of a sweep learned: the losses of their trainings, step by step, as a picture."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bundle.handlers.atomic import replacing
from scripts.sweeping.errors import SweepError
from scripts.sweeping.jobs import Cell, Job
from scripts.sweeping.records import is_done
from scripts.sweeping.sweep_file import Sweep

__all__ = ["Courses", "courses_of", "draw_courses"]

Courses = Mapping[str, Mapping[str, Sequence[pd.Series]]]
"""By panel and variant, a loss of each seed that is done, indexed by the step of the training."""

_NO_TERMS = ["loss", "gradient_norm"]
_PANELS = 12
_COLUMNS = 3
_INCHES = (4.2, 3.0)  # of a panel
_MARGIN = 0.8  # inches for title and legend
_SHARE = 20  # a point of a line is the mean over one part in so many of its course
_POINTS = 500  # of a line: more could not be seen
_WIDE = 30.0  # times its lowest value: where a panel reaches further, its axis is logarithmic


def courses_of(cells: Sequence[Cell]) -> Courses:
    """What the trainings that are done have recorded in `losses.jsonl`, without those that all variants share.

    Each named term of a loss has a panel, or the loss itself where it has no terms. A training that goes on from
    another one counts its steps on, and is followed from the beginning of the first.

    Args:
        cells: all cells of a sweep.

    Raises:
        SweepError: when a record is spoilt.
    """
    losses = _losses(cells)
    before = {job: earlier for job in losses if (earlier := _earlier(job, losses)) is not None}
    courses: dict[str, dict[str, list[pd.Series]]] = {}
    for step in dict.fromkeys(step for cell in cells for step in cell.jobs):
        for cell in cells:
            job = cell.jobs.get(step)
            if job in losses and job not in before.values():
                for term, course in _terms(_whole(job, losses, before)):
                    courses.setdefault(f"{step}: {term}", {}).setdefault(cell.variant, []).append(course)
    return courses


def _losses(cells: Sequence[Cell]) -> dict[Job, pd.DataFrame]:
    """The records of each training that is done and not shared by all variants, a row a step."""
    shared = _shared(cells)
    jobs = {job: None for cell in cells for job in cell.jobs.values() if job not in shared}
    trained = [job for job in jobs if job.made_from.get("run") == "training" and is_done(job)]
    files = {job: job.folder / "losses.jsonl" for job in trained}
    return {job: _read(file) for job, file in files.items() if file.is_file() and file.stat().st_size}


def _read(file: Path) -> pd.DataFrame:
    # Of a training that is done, no line is torn; `bundle.handlers.json_lines`, which looks after those, imports torch.
    try:
        records = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    except ValueError as error:
        raise SweepError(f"{file}: not readable as lines of JSON; remove it to draw without this training") from error
    return pd.DataFrame(records).set_index("iteration")


def _shared(cells: Sequence[Cell]) -> set[Job]:
    """Jobs that are the same for all variants with a seed."""
    seeds = {cell.seed for cell in cells}
    jobs = ([set(cell.jobs.values()) for cell in cells if cell.seed == seed] for seed in seeds)
    return set().union(*(set.intersection(*of_seed) for of_seed in jobs))


def _earlier(job: Job, losses: Mapping[Job, pd.DataFrame]) -> Job | None:
    """The training whose steps a training counts on."""
    first = losses[job].index[0]
    return next((needed for needed in job.needs if needed in losses and losses[needed].index[-1] + 1 == first), None)


def _whole(job: Job, losses: Mapping[Job, pd.DataFrame], before: Mapping[Job, Job]) -> pd.DataFrame:
    if job not in before:
        return losses[job]
    return pd.concat([_whole(before[job], losses, before), losses[job]])


def _terms(record: pd.DataFrame) -> Iterator[tuple[str, pd.Series]]:
    names = list(record.columns.drop(_NO_TERMS, errors="ignore")) or ["loss"]
    return ((name, record[name].dropna()) for name in names)


def draw_courses(sweep: Sweep, courses: Courses, path: Path) -> None:
    """Draw one panel a loss: each variant the mean of its seeds, in a band from the lowest seed to the highest.

    Args:
        sweep: the sweep.
        courses: at least one panel; the first 12 are drawn.
        path: the PNG file.
    """
    shown = dict(islice(courses.items(), _PANELS))
    columns = min(_COLUMNS, len(shown))
    rows = -(-len(shown) // columns)
    figure = Figure(figsize=(columns * _INCHES[0], rows * _INCHES[1] + _MARGIN), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).flatten()
    # There are ten colours.
    looks = {name: (f"C{n}", "solid" if n < 10 else "dashed") for n, name in enumerate(sweep.variants)}
    for axis, (title, of_variants) in zip(panels, shown.items(), strict=False):
        _panel(axis, title, of_variants, looks)
    for axis in panels[len(shown) :]:
        axis.set_visible(False)
    lines = {str(line.get_label()): line for axis in panels for line in axis.lines}
    drawn = [variant for variant in looks if variant in lines]
    handles = [lines[variant] for variant in drawn]
    figure.legend(handles, drawn, loc="outside lower center", ncols=2 * columns, fontsize="small")
    of = f", {len(shown)} of {len(courses)}" if len(shown) < len(courses) else ""
    words = f"{sweep.name}: losses of training, smoothed{of}\nmeans over seeds, bands from lowest to highest"
    figure.suptitle(words, fontsize="medium")
    with replacing(path) as partial:
        figure.savefig(partial, dpi=120)


def _panel(
    axis: Axes, title: str, of_variants: Mapping[str, Sequence[pd.Series]], looks: Mapping[str, tuple[str, str]]
) -> None:
    for variant, courses in of_variants.items():
        colour, style = looks[variant]
        # As far as all seeds go: beyond the end of one, the mean of the others would be that of something else.
        seeds = pd.concat([_smooth(course) for course in courses], axis=1, join="inner")
        seeds = seeds.iloc[:: max(1, len(seeds) // _POINTS)]
        axis.plot(seeds.index, seeds.mean(axis=1), color=colour, linestyle=style, linewidth=1.2, label=variant)
        axis.fill_between(seeds.index, seeds.min(axis=1), seeds.max(axis=1), color=colour, alpha=0.15, linewidth=0)
    values = pd.concat([pd.Series(line.get_ydata()) for line in axis.lines])
    if 0 < values.min() < values.max() / _WIDE:
        axis.set_yscale("log")
    axis.set_title(title, fontsize="medium")
    axis.set_xlabel("step", fontsize="small")
    axis.grid(alpha=0.3)


def _smooth(course: pd.Series) -> pd.Series:
    return course.rolling(max(1, len(course) // _SHARE), center=True, min_periods=1).mean()
