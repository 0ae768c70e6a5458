"""End training when validation has stopped getting better."""

from __future__ import annotations

import logging

from ignite.engine import Events
from monai.engines import Evaluator, Workflow

__all__ = ["EarlyStop"]

logger = logging.getLogger(__name__)


class EarlyStop:
    """Terminate training after `patience` epochs without a better key metric.

    It has no state of its own: the evaluator knows the epoch of its best metric, also after a resume, so that a run
    that has ended stays ended. Attach it to the trainer after the handler that validates.

    Args:
        evaluator: the engine that validates; its key metric decides.
        patience: epochs.
    """

    def __init__(self, evaluator: Evaluator, patience: int) -> None:
        self.evaluator = evaluator
        self.patience = patience

    def attach(self, engine: Workflow) -> None:
        """Register with a trainer."""
        engine.add_event_handler(Events.EPOCH_STARTED, self)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)

    def __call__(self, engine: Workflow) -> None:
        """Look at how long ago the best validation was."""
        best = self.evaluator.state.best_metric_epoch
        complete = engine.state.iteration // engine.state.epoch_length
        if best >= 0 and complete - best >= self.patience:  # -1 before the first validation
            logger.info("no better validation since epoch %d: training ends", best)
            engine.terminate()
