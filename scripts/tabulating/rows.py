"""Rows of figures as Markdown for people and as CSV for programs."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from scripts.tabulating.runs import Run, TableError

__all__ = ["choose_metrics", "csv_table", "markdown_table", "run_labels"]

HEADLINES = (
    *("dice_pos", "dice_mgca", "dice_empty_mgca", "dice_image", "dice_empty", "hd95_mm"),
    *("auc_macro", "ap_macro", "f1_macro_val", "accuracy", "ece_macro"),
    *("map_40_75", "froc"),
    *("zero_shot_auc_macro", "side_auc", "pointing_game", "pointing_game_over_prior"),
    *("retrieval_r5_image_to_text", "retrieval_r5_text_to_image"),
)
"""What is shown of runs that have it, unless metrics are named."""

_SHOWN_OTHERWISE = 5
_SMALL_IS_GOOD = re.compile(r"loss|error|^ece|^hd\d|distance|rank|skipped|without")
_BASELINE = re.compile(r"empty|(?<!over_)(chance|prior|random)|share|shuffled|blank_image|oracle")
"""What says something of the list, or of a control, and not how good the run is."""


def choose_metrics(runs: Sequence[Run], asked: Sequence[str] = ()) -> list[str]:
    """Names of the metrics to show.

    Args:
        runs: the runs of the table.
        asked: names that were asked for; without any the headlines that the runs have.

    Raises:
        TableError: when no run has a metric that was asked for, or none has any.
    """
    known = list(dict.fromkeys(name for run in runs for name in run.results["metrics"]))
    for name in asked:
        if name not in known:
            raise TableError(f"no run has a metric '{name}'; there are {', '.join(sorted(known))}")
    chosen = list(asked) or [name for name in HEADLINES if name in known] or known[:_SHOWN_OTHERWISE]
    if not chosen:
        raise TableError("no run has any metric")
    return chosen


def run_labels(runs: Sequence[Run]) -> list[str]:
    """What each run is called: its name, or its folder where another run has the same name."""
    names = [run.name for run in runs]
    return [str(run.folder) if names.count(run.name) > 1 else run.name for run in runs]


def markdown_table(runs: Sequence[Run], metrics: Sequence[str], facts: Sequence[str] = ()) -> str:
    """Draw a Markdown table, one row a run.

    A cell reads `0.812 [0.790, 0.833] ± 0.010, n 120`: value, 95 % interval over patients, deviation over seeds, items.
    The best value among runs of equal stage, list and protocol is bold. Where rows differ in these, each list has a
    number that a footnote explains.

    Args:
        runs: the rows.
        metrics: the columns.
        facts: numbers of the runs that get a column of their own, such as `fraction`.
    """
    notes = {evaluation: number for number, evaluation in enumerate(dict.fromkeys(run.evaluation for run in runs), 1)}
    head = ["run", "start", *facts, "list", "protocol", "seeds", *metrics]
    lines = [_line(head), _line(["---"] * len(head))]
    for run, label in zip(runs, run_labels(runs), strict=True):
        mark = f" ({notes[run.evaluation]})" if len(notes) > 1 else ""
        row = [label, run.start, *(_short(run.number(fact)) for fact in facts), f"{run.results['list']}{mark}"]
        row += [run.results["protocol"], ", ".join(map(str, run.results["seeds"]))]
        rivals = [other for other in runs if other.evaluation == run.evaluation]
        lines.append(_line([*row, *(_cell(run, metric, rivals) for metric in metrics)]))
    return "\n".join([*lines, *_footnotes(notes)]) + "\n"


def _footnotes(notes: Mapping[tuple[str, str, str, str], int]) -> Iterable[str]:
    if len(notes) > 1:
        yield "\nFigures of different numbers are not comparable, though they stand in one column:\n"
        for (stage, name, sha256, protocol), number in notes.items():
            yield f"- ({number}) {stage} on {_plain(name)}, sha256 {sha256[:12]}, protocol {_plain(protocol)}"


def _cell(run: Run, metric: str, rivals: Sequence[Run]) -> str:
    entry = run.results["metrics"].get(metric)
    if entry is None or entry["value"] is None:
        return ""
    value = f"{entry['value']:.3f}"
    text = f"**{value}**" if entry["value"] == _best(metric, rivals) else value
    if entry["low"] is not None and entry["high"] is not None:
        text += f" [{entry['low']:.3f}, {entry['high']:.3f}]"
    if entry.get("deviation") is not None:
        text += f" ± {entry['deviation']:.3f}"
    return text + (f", n {entry['n']}" if entry["n"] is not None else "")


def _best(metric: str, rivals: Sequence[Run]) -> float | None:
    """The best value of several runs; none where there is nothing to be better than."""
    entries = [run.results["metrics"].get(metric) for run in rivals]
    values = [entry["value"] for entry in entries if entry is not None and entry["value"] is not None]
    if len(values) < 2 or _BASELINE.search(metric):
        return None
    return min(values) if _SMALL_IS_GOOD.search(metric) else max(values)


def csv_table(runs: Sequence[Run], metrics: Sequence[str], facts: Sequence[str] = ()) -> str:
    """The same rows as CSV with all digits: a metric has five columns, value, low, high, deviation and n."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    parts = ("value", "low", "high", "deviation", "n")
    columns = [f"{metric}_{part}".removesuffix("_value") for metric in metrics for part in parts]
    writer.writerow(["run", "folder", "start", *facts, "stage", "list", "list_sha256", "protocol", "seeds", *columns])
    for run, label in zip(runs, run_labels(runs), strict=True):
        entries: list[Mapping[str, Any]] = [run.results["metrics"].get(metric, {}) for metric in metrics]
        row = [label, run.folder, run.start, *(run.number(fact) for fact in facts), *run.evaluation]
        figures = [entry.get(part) for entry in entries for part in parts]
        writer.writerow([*row, " ".join(map(str, run.results["seeds"])), *figures])
    return file.getvalue()


def _short(number: float | None) -> str:
    return "" if number is None else f"{number:g}"


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(_plain(cell) for cell in cells)} |"


def _plain(text: str) -> str:
    """Text that cannot end a cell."""
    return text.replace("|", "\\|").replace("\n", " ")
