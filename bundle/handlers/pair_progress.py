"""How far the judging of all pairs has come."""

from __future__ import annotations

import logging
import time
from datetime import timedelta

from ignite.engine import Events
from monai.engines import Workflow

__all__ = ["PairProgress"]

logger = logging.getLogger(__name__)


class PairProgress:
    """Log, every so many seconds and at the end, how many pairs were judged, how fast, and the time left.

    Nothing waits for the device: on a GPU the host is ahead of it, by less than a batch of images. With several
    processes attach it in the first one only; figures are those of all, as far as they are equally fast.

    Args:
        pairs: of all processes.
        every: seconds between two lines.
    """

    def __init__(self, pairs: int, every: float = 30.0) -> None:
        self.pairs = pairs
        self.every = every
        self._started = self._told = 0.0

    def attach(self, engine: Workflow) -> None:
        """Register with an evaluator whose iterations are batches of images."""
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._tell)

    def _start(self, engine: Workflow) -> None:
        self._started = self._told = time.monotonic()

    def _tell(self, engine: Workflow) -> None:
        now, share = time.monotonic(), engine.state.iteration / engine.state.epoch_length
        if share < 1 and now - self._told < self.every:
            return
        self._told, seconds = now, now - self._started
        logger.info(
            "%s of %s pairs  %.0f pairs/s  left %s",
            f"{round(share * self.pairs):,}",
            f"{self.pairs:,}",
            share * self.pairs / max(seconds, 1e-9),
            timedelta(seconds=round(seconds / share - seconds)),
        )
