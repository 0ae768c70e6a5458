"""The threshold of heat maps, carried from the validation list to the test list."""

from __future__ import annotations

from ignite.engine import Events
from monai.engines import Workflow

from bundle.metrics.grounding import GroundingMetric

__all__ = ["ValidationMapThreshold"]


class ValidationMapThreshold:
    """After each validation give the test metric the threshold that is best on the validation list.

    Attach it to the evaluator of the validation list, in every process. Where no validation ran before the test, the
    test has `oracle_` figures only.

    Args:
        validation: the metric of the validation evaluator.
        test: the metric of the test evaluator.
    """

    def __init__(self, validation: GroundingMetric, test: GroundingMetric) -> None:
        self.validation = validation
        self.test = test

    def attach(self, engine: Workflow) -> None:
        """Register with the validation evaluator."""
        engine.add_event_handler(Events.COMPLETED, self)

    def __call__(self, engine: Workflow) -> None:
        """Hand over the threshold of the validation that is complete."""
        self.test.threshold = self.validation.best_threshold()
