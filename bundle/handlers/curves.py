"""The course of a run in one picture: `curves.png`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ignite.engine import Events
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from monai.engines import Workflow

from .atomic import replacing
from .json_lines import read_json_lines

__all__ = ["Curves", "draw_curves"]

Records = Sequence[Mapping[str, Any]]

_SPEED = {"pairs_per_s", "ms_per_step", "data_share", "pairs_per_s_mean", "seconds_left", "peak_memory_gib"}
_NOT_LOSSES = _SPEED | {"iteration", "epoch", "learning_rate", "gradient_norm"}


class Curves:
    """Redraw the curves of a run after each validation, from the files that `LogTerms` and `MetricsLog` write.

    Attach it to the trainer, behind `MetricsLog`. With several processes attach it in the first one only.

    Args:
        folder: the run's folder, with `training.jsonl` and `metrics.jsonl`; `curves.png` is written there.
        evaluator: the engine that validates.
    """

    def __init__(self, folder: str | Path, evaluator: Workflow) -> None:
        self.folder = Path(folder)
        self.evaluator = evaluator

    def attach(self, engine: Workflow) -> None:
        """Register with a trainer."""
        # When the trainer starts, all handlers of the evaluator are registered: this one comes last.
        engine.add_event_handler(Events.STARTED, self._follow)

    def _follow(self, engine: Workflow) -> None:
        if not self.evaluator.has_event_handler(self._draw, Events.COMPLETED):
            self.evaluator.add_event_handler(Events.COMPLETED, self._draw)

    def _draw(self, engine: Workflow) -> None:
        training = read_json_lines(self.folder / "training.jsonl")
        draw_curves(training, read_json_lines(self.folder / "metrics.jsonl"), self.folder / "curves.png")


def draw_curves(training: Records, validations: Records, path: str | Path) -> None:
    """Draw loss terms, learning rate and gradient, recall and mask overlap against the epoch.

    Args:
        training: records of `LogTerms`, with `epoch` and any scalars.
        validations: records of `MetricsLog`, with `epoch` and any metrics.
        path: the PNG file.
    """
    figure = Figure(figsize=(12, 7), layout="constrained")
    losses, rate, recall, overlap = figure.subplots(2, 2).flat
    _plot(losses, "loss", training, _names(training) - _NOT_LOSSES)
    _plot(rate, "learning rate", training, {"learning_rate"})
    _plot(rate.twinx(), "gradient norm", training, {"gradient_norm"}, colour="tab:orange")
    _plot(recall, "recall", validations, {name for name in _names(validations) if _is_recall(name)})
    overlap_names = {name for name in _names(validations) if name.endswith(("_dice", "_share")) and name not in _SPEED}
    _plot(overlap, "masks", validations, overlap_names)
    for axis in (recall, overlap):
        axis.set_ylim(0, 1)
    with replacing(path) as partial:
        figure.savefig(partial, dpi=100)


def _names(records: Records) -> set[str]:
    return {name for record in records for name in record}


def _is_recall(name: str) -> bool:
    return name.startswith("retrieval_r") and name.endswith(("_image_to_text", "_text_to_image"))


def _plot(axis: Axes, title: str, records: Records, names: Iterable[str], colour: str | None = None) -> None:
    """One line a name, over the records that have it."""
    for name in sorted(names):
        points = [(record["epoch"], record[name]) for record in records if name in record]
        if points:
            marker = "o" if len(points) < 50 else None
            axis.plot(*zip(*points, strict=True), label=name, marker=marker, markersize=3, color=colour)
    axis.set(xlabel="epoch", ylabel=title)
    if axis.get_legend_handles_labels()[1]:
        axis.legend(fontsize="small")
