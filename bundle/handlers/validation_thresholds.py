"""Thresholds of decisions, carried from the validation list to the test list."""

from __future__ import annotations

from ignite.engine import Events
from monai.engines import Workflow

from bundle.metrics.classification import MultilabelMetric

__all__ = ["ValidationThresholds"]


class ValidationThresholds:
    """After each validation give the test metric the thresholds that are best on the validation list.

    Attach it to the evaluator of the validation list, in every process. The test metric then has its `_val` figures;
    where no validation ran before it, it has none. Validate with the weights that are to be tested: thresholds of other
    weights fit nothing.

    Args:
        validation: the metric of the validation evaluator.
        test: the metric of the test evaluator, with the same classes.
    """

    def __init__(self, validation: MultilabelMetric, test: MultilabelMetric) -> None:
        self.validation = validation
        self.test = test

    def attach(self, engine: Workflow) -> None:
        """Register with the validation evaluator."""
        engine.add_event_handler(Events.COMPLETED, self)

    def __call__(self, engine: Workflow) -> None:
        """Hand over the thresholds of the validation that is complete."""
        self.test.thresholds = self.validation.best_thresholds()
