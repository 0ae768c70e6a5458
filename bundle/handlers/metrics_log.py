"""One line a validation."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from ignite.engine import Events
from monai.engines import Workflow

from .json_lines import JsonLines, read_json_lines

__all__ = ["MetricsLog", "scalar_metrics"]

logger = logging.getLogger(__name__)


class MetricsLog:
    """Append `{"epoch", "iteration", metrics..., throughput...}` to a file of JSON lines after each validation.

    Attach it to the trainer, whose iteration it writes; the validation may be started by any other handler. A resumed
    run drops what lies beyond its checkpoint; a finished one that is started again writes nothing twice. With several
    processes attach it in the first one only.

    Args:
        path: the file, `metrics.jsonl` in the run's folder.
        evaluator: the engine that validates.
    """

    def __init__(self, path: str | Path, evaluator: Workflow) -> None:
        self.lines = JsonLines(path)
        self.evaluator = evaluator
        self._complete = False

    def attach(self, engine: Workflow) -> None:
        """Register with a trainer."""
        self.lines.attach(engine)
        engine.add_event_handler(Events.STARTED, self._mark, complete=False)
        engine.add_event_handler(Events.COMPLETED, self._mark, complete=True)
        self.evaluator.add_event_handler(Events.COMPLETED, lambda _: self._write(engine))

    def _mark(self, engine: Workflow, complete: bool) -> None:
        self._complete = complete

    def _write(self, trainer: Workflow) -> None:
        if self._complete:  # a validation of other weights than the last ones, such as before the final test
            return
        metrics = scalar_metrics(self.evaluator)
        position = {"epoch": trainer.state.epoch, "iteration": trainer.state.iteration}
        if not any(line["iteration"] == trainer.state.iteration for line in read_json_lines(self.lines.path)):
            self.lines.append([position | metrics | getattr(trainer.state, "throughput", {})])
        named = "  ".join(f"{name} {value:.4g}" for name, value in metrics.items())
        logger.info("validation after epoch %d, iteration %d  %s", *position.values(), named)


def scalar_metrics(engine: Workflow) -> dict[str, float]:
    """The metrics of an engine that are plain numbers, by name."""
    metrics: dict[str, Any] = engine.state.metrics
    return {name: float(value) for name, value in metrics.items() if isinstance(value, int | float)}
