"""Controls that are evaluated whenever what they control is."""

from __future__ import annotations

from collections.abc import Sequence

from ignite.engine import Events
from monai.engines import Evaluator, Workflow

from .metrics_log import scalar_metrics

__all__ = ["EvaluateBeside"]


class EvaluateBeside:
    """When an evaluation is complete run others and take their figures over, so that no result goes without them.

    Attach it to the evaluator, in every process, before `Results`. The other evaluators' metrics have names of their
    own, such as those of an `AnswerAccuracy` with a suffix.

    Args:
        evaluators: engines that evaluate controls, such as the same network with blank images.

    Raises:
        ValueError: when a metric of a control has a name that is taken.

    Example:
        >>> EvaluateBeside([blank_image_evaluator]).attach(evaluator)
    """

    def __init__(self, evaluators: Sequence[Evaluator]) -> None:
        self.evaluators = list(evaluators)
        self._added: set[str] = set()

    def attach(self, engine: Workflow) -> None:
        """Register with an evaluator."""
        engine.add_event_handler(Events.COMPLETED, self)

    def __call__(self, engine: Workflow) -> None:
        """Run the controls and merge their figures."""
        own = set(engine.state.metrics) - self._added
        for evaluator in self.evaluators:
            evaluator.run(engine.state.epoch)
            found = scalar_metrics(evaluator)
            if taken := sorted(own & set(found)):
                raise ValueError(
                    f"a control's metric has the name {taken[0]}, which is taken: give the control's metric a suffix"
                )
            own |= set(found)
            self._added |= set(found)
            engine.state.metrics.update(found)
            engine.state.samples = {**getattr(engine.state, "samples", {}), **getattr(evaluator.state, "samples", {})}
