"""The course of a run in one picture: `curves.png`."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain, repeat
from pathlib import Path
from typing import Any

from ignite.engine import Events
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from monai.engines import Workflow

from .atomic import replacing
from .json_lines import read_json_lines
from .throughput import FIGURES

__all__ = ["Curves", "draw_curves"]

Records = Sequence[Mapping[str, Any]]

_COLUMNS = 3
_NOT_LOSSES = {"iteration", "epoch", "learning_rate", "gradient_norm", *FIGURES}


class Curves:
    """Redraw the curves of a run after validations, from the files that `LogTerms` and `MetricsLog` write.

    Attach it to the trainer, behind `MetricsLog`. With several processes attach it in the first one only. Where
    validations follow each other quickly some are left out, so that drawing takes a twentieth of the time at most; the
    last curves are drawn when the run is complete.

    Args:
        folder: the run's folder, with `training.jsonl` and `metrics.jsonl`; `curves.png` is written there.
        evaluator: the engine that validates.
    """

    def __init__(self, folder: str | Path, evaluator: Workflow) -> None:
        self.folder = Path(folder)
        self.evaluator = evaluator
        self._not_before = 0.0

    def attach(self, engine: Workflow) -> None:
        """Register with a trainer."""
        engine.add_event_handler(Events.COMPLETED, self._draw)
        # When the trainer starts, all handlers of the evaluator are registered: this one comes last.
        engine.add_event_handler(Events.STARTED, self._follow)

    def _follow(self, engine: Workflow) -> None:
        if not self.evaluator.has_event_handler(self._draw_in_time, Events.COMPLETED):
            self.evaluator.add_event_handler(Events.COMPLETED, self._draw_in_time)

    def _draw_in_time(self, engine: Workflow) -> None:
        began = time.monotonic()
        if began >= self._not_before:
            self._draw(engine)
            self._not_before = began + 20 * (time.monotonic() - began)

    def _draw(self, engine: Workflow) -> None:
        training = read_json_lines(self.folder / "training.jsonl")
        draw_curves(training, read_json_lines(self.folder / "metrics.jsonl"), self.folder / "curves.png")


def draw_curves(training: Records, validations: Records, path: str | Path) -> None:
    """Draw losses, learning rate and gradient against the epoch, and each family of metrics in a panel of its own.

    Metrics of pre-training are grouped by what they tell (recall, masks, collapse), all others by the first word of
    their names: `auc_macro` beside `auc_nodule`.

    Args:
        training: records of `LogTerms`, with `epoch` and any scalars.
        validations: records of `MetricsLog`, with `epoch` and any metrics.
        path: the PNG file.
    """
    families = _families(validations)
    rows = 1 + math.ceil(len(families) / _COLUMNS)
    figure = Figure(figsize=(5 * _COLUMNS, 3.5 * rows), layout="constrained")
    losses, rate, gradient, *others = figure.subplots(rows, _COLUMNS).flat
    _plot(losses, "loss", training, _names(training, lambda name: name not in _NOT_LOSSES))
    _plot(losses, "loss", validations, _names(validations, lambda name: name.startswith("validation_")))
    _plot(rate, "learning rate", training, ["learning_rate"])
    _plot(gradient, "gradient norm", training, ["gradient_norm"])
    for axis, (title, names) in zip(others, families.items(), strict=False):
        _plot(axis, title, validations, names)
        if title in ("recall", "masks"):
            axis.set_ylim(0, 1)
    for axis in others[len(families) :]:
        axis.remove()
    with replacing(path) as partial:
        figure.savefig(partial, dpi=100)


def _families(validations: Records) -> dict[str, list[str]]:
    """Names of the metrics that are drawn together, by title."""
    families: dict[str, list[str]] = {}
    for name in _names(validations, lambda name: name not in _NOT_LOSSES and not name.startswith("validation_")):
        if (family := _family(name)) is not None:
            families.setdefault(family, []).append(name)
    return families


def _family(name: str) -> str | None:
    """Title of the panel that a metric is drawn in; ranks and ratios of retrieval repeat its recall and are not."""
    if name.startswith("retrieval_"):
        return "recall" if _is_recall(name) else None
    if name.endswith(("mask_dice", "mask_share")):
        return "masks"
    return "collapse" if name.startswith(("collapse_", "mean_")) else name.split("_")[0]


def _names(records: Records, chosen: Callable[[str], bool]) -> list[str]:
    """Names that occur in any record, in order of first occurrence."""
    return [name for name in dict.fromkeys(name for record in records for name in record) if chosen(name)]


def _is_recall(name: str) -> bool:
    return name.startswith("retrieval_r") and name.endswith(("_image_to_text", "_text_to_image"))


def _plot(axis: Axes, title: str, records: Records, names: Iterable[str]) -> None:
    """One line a name, over the records that have it."""
    for name, style in zip(names, chain(["solid"] * 10, repeat("dashed")), strict=False):  # there are ten colours
        points = [(record["epoch"], record[name]) for record in records if name in record]
        if points:
            marker = "o" if len(points) < 50 else None
            axis.plot(*zip(*points, strict=True), label=name, linestyle=style, marker=marker, markersize=3)
    axis.set(xlabel="epoch", ylabel=title)
    if lines := len(axis.lines):
        axis.legend(fontsize="small" if lines < 8 else "xx-small")
