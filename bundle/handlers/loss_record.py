"""Every step's loss to the last bit: what two runs are compared by."""

from __future__ import annotations

from pathlib import Path

import torch
from ignite.engine import Events
from monai.engines import SupervisedTrainer
from torch import Tensor

from .json_lines import JsonLines
from .loss_terms import step_scalars

__all__ = ["LossRecord"]


class LossRecord:
    """Append `{"iteration", "loss", terms...}` for every step to a file of JSON lines.

    A float32 survives the way through JSON bit for bit. A resumed run drops what lies beyond its checkpoint.

    Args:
        path: the file.
        every: steps between two writes. Each write waits for the device: 1 costs nothing on a CPU; on a GPU take a
            larger number and call `flush` before each checkpoint is saved, or a kill may leave a gap.
    """

    def __init__(self, path: str | Path, every: int = 1) -> None:
        self.lines = JsonLines(path)
        self.every = every
        self._kept: list[tuple[int, dict[str, Tensor]]] = []

    def attach(self, engine: SupervisedTrainer) -> None:
        """Register with a trainer."""
        self.lines.attach(engine)
        engine.add_event_handler(Events.STARTED, self._clear)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._keep)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.flush)

    def flush(self, engine: SupervisedTrainer) -> None:
        """Write what is kept, with one transfer from the device."""
        if self._kept:
            values = iter(torch.stack([value for _, step in self._kept for value in step.values()]).tolist())
            records = [{"iteration": number} | {name: next(values) for name in step} for number, step in self._kept]
            self.lines.append(records)
            self._kept.clear()

    def _clear(self, engine: SupervisedTrainer) -> None:
        self._kept.clear()

    def _keep(self, engine: SupervisedTrainer) -> None:
        self._kept.append((engine.state.iteration, step_scalars(engine)))
        if engine.state.iteration % self.every == 0:
            self.flush(engine)
