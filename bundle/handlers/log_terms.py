"""What a person watches while a network trains: progress bar, log line, TensorBoard."""

from __future__ import annotations

import logging
import sys
from collections import defaultdict
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from ignite.engine import Events
from ignite.handlers.tqdm_logger import ProgressBar
from monai.engines import IterationEvents, SupervisedTrainer
from torch import Tensor
from tqdm.contrib.logging import logging_redirect_tqdm

from .json_lines import JsonLines
from .loss_terms import step_scalars

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

__all__ = ["LogTerms"]

logger = logging.getLogger(__name__)


class LogTerms:
    """Every so many steps read the scalars of the steps since, and show their means.

    Between two readings they are summed on the device; a reading is the only moment that waits for it. It takes place
    inside the step, so that `Throughput` counts the wait. Shown are the loss, its terms, the norm of the gradient, the
    learning rate of the first parameter group and, where `Throughput` is listed before this handler, pairs per second,
    the share of time spent waiting for data and the time left. With several processes attach it in the first one only;
    the figures are those of its share of the batch.

    Args:
        every: steps between two readings; there is also one at the end of each epoch.
        folder: where `training.jsonl` (one line a reading) and the TensorBoard events go; none writes neither.
        bar: whether to show a progress bar; it shows on a terminal only.
    """

    def __init__(self, every: int = 50, folder: str | Path | None = None, bar: bool = True) -> None:
        self.every = every
        self.folder = None if folder is None else Path(folder)
        self.lines = None if folder is None else JsonLines(Path(folder) / "training.jsonl")
        self.bar = bar and sys.stderr.isatty()
        self._writer: SummaryWriter | None = None
        self._sums: dict[str, Tensor] = {}
        self._steps: dict[str, int] = defaultdict(int)
        self._means: dict[str, float] = {}
        self._shown: dict[str, str] = {}

    def attach(self, engine: SupervisedTrainer) -> None:
        """Register with a trainer."""
        engine.add_event_handler(Events.STARTED, self._begin_run)
        engine.add_event_handler(IterationEvents.MODEL_COMPLETED, self._sum)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._show)
        engine.add_event_handler(Events.COMPLETED, self._close)
        if self.lines is not None:
            self.lines.attach(engine)
        if self.bar:
            ProgressBar(persist=True).attach(engine, output_transform=lambda _: self._shown)

    def _begin_run(self, engine: SupervisedTrainer) -> None:
        self._sums.clear()
        self._steps.clear()

    def _is_due(self, engine: SupervisedTrainer) -> bool:
        iteration = engine.state.iteration
        return iteration % self.every == 0 or iteration % engine.state.epoch_length == 0

    def _sum(self, engine: SupervisedTrainer) -> None:
        for name, value in step_scalars(engine).items():
            self._sums[name] = self._sums[name] + value if name in self._sums else value
            self._steps[name] += 1
        if self._is_due(engine):
            sums = torch.stack(list(self._sums.values())).tolist()
            self._means = {name: total / self._steps[name] for name, total in zip(self._sums, sums, strict=True)}
            self._means["learning_rate"] = float(engine.optimizer.param_groups[0]["lr"])
            self._sums.clear()
            self._steps.clear()

    def _show(self, engine: SupervisedTrainer) -> None:
        if not self._is_due(engine):
            return
        speed: dict[str, float] = getattr(engine.state, "throughput", {})
        self._shown = _shown(self._means, speed)
        with logging_redirect_tqdm() if self.bar else nullcontext():
            logger.info("%s  %s", _place(engine), "  ".join(f"{name} {value}" for name, value in self._shown.items()))
        if self.folder is not None and self.lines is not None:
            self.lines.append([_position(engine) | self._means | speed])
            self._write_events(self.folder, self._means | speed, engine.state.iteration)

    def _write_events(self, folder: Path, scalars: dict[str, float], iteration: int) -> None:
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter

            # What a killed run wrote beyond the checkpoint is hidden by TensorBoard from this step on.
            self._writer = SummaryWriter(str(folder), purge_step=iteration)
        for name, value in scalars.items():
            self._writer.add_scalar(f"training/{name}", value, iteration)
        self._writer.flush()

    def _close(self, engine: SupervisedTrainer) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def _position(engine: SupervisedTrainer) -> dict[str, Any]:
    """Iteration, and epochs gone through as a fraction."""
    iteration = engine.state.iteration
    return {"iteration": iteration, "epoch": iteration / engine.state.epoch_length}


def _place(engine: SupervisedTrainer) -> str:
    state = engine.state
    total = state.max_epochs * state.epoch_length
    return f"epoch {state.epoch}/{state.max_epochs}  iteration {state.iteration}/{total}"


def _shown(means: dict[str, float], speed: dict[str, float]) -> dict[str, str]:
    """The scalars as text, in the order in which they are read."""
    shown = {name.removesuffix("_norm"): f"{value:.4g}" for name, value in means.items()}
    if speed:
        shown["pairs/s"] = f"{speed['pairs_per_s']:.1f}"
        shown["waiting for data"] = f"{speed['data_share']:.0%}"
        shown["left"] = str(timedelta(seconds=round(speed["seconds_left"])))
    return shown
