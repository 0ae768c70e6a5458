"""The course of a run in one picture: `curves.png`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
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

_NOT_LOSSES = {"iteration", "epoch", "learning_rate", "gradient_norm", *FIGURES}


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
    """Draw losses, learning rate, gradient, recall, mask overlap and collapse against the epoch.

    Args:
        training: records of `LogTerms`, with `epoch` and any scalars.
        validations: records of `MetricsLog`, with `epoch` and any metrics.
        path: the PNG file.
    """
    figure = Figure(figsize=(15, 7), layout="constrained")
    losses, rate, gradient, recall, masks, collapse = figure.subplots(2, 3).flat
    _plot(losses, "loss", training, _names(training, lambda name: name not in _NOT_LOSSES))
    _plot(losses, "loss", validations, _names(validations, lambda name: name.startswith("validation_")))
    _plot(rate, "learning rate", training, ["learning_rate"])
    _plot(gradient, "gradient norm", training, ["gradient_norm"])
    _plot(recall, "recall", validations, _names(validations, _is_recall))
    _plot(masks, "masks", validations, _names(validations, lambda name: name.endswith(("mask_dice", "mask_share"))))
    _plot(collapse, "collapse", validations, _names(validations, lambda name: name.startswith(("collapse_", "mean_"))))
    for axis in (recall, masks):
        axis.set_ylim(0, 1)
    with replacing(path) as partial:
        figure.savefig(partial, dpi=100)


def _names(records: Records, chosen: Callable[[str], bool]) -> list[str]:
    """Names that occur in any record, in order of first occurrence."""
    return [name for name in dict.fromkeys(name for record in records for name in record) if chosen(name)]


def _is_recall(name: str) -> bool:
    return name.startswith("retrieval_r") and name.endswith(("_image_to_text", "_text_to_image"))


def _plot(axis: Axes, title: str, records: Records, names: Iterable[str]) -> None:
    """One line a name, over the records that have it."""
    for name in names:
        points = [(record["epoch"], record[name]) for record in records if name in record]
        if points:
            axis.plot(*zip(*points, strict=True), label=name, marker="o" if len(points) < 50 else None, markersize=3)
    axis.set(xlabel="epoch", ylabel=title)
    if axis.get_legend_handles_labels()[1]:
        axis.legend(fontsize="small")
