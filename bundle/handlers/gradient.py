"""The length of the gradient: measured, and cut where it is too long."""

from __future__ import annotations

from monai.engines import IterationEvents, SupervisedTrainer
from torch import nn

__all__ = ["ClipGradient"]


class ClipGradient:
    """Measure the norm of the gradient of all parameters and scale the gradient down to a maximum.

    The norm before scaling goes into `engine.state.output["gradient_norm"]`, a scalar on the device. Nothing waits for
    the device; a norm that is not finite is left for `StopOnNonFinite` to see.

    Args:
        network: the network; parameters without gradient are left out.
        max_norm: the longest gradient allowed; none only measures.
    """

    def __init__(self, network: nn.Module, max_norm: float | None = None) -> None:
        self.network = network
        self.max_norm = max_norm

    def attach(self, engine: SupervisedTrainer) -> None:
        """Register with a trainer."""
        engine.add_event_handler(IterationEvents.BACKWARD_COMPLETED, self)

    def __call__(self, engine: SupervisedTrainer) -> None:
        """Measure and scale.

        Raises:
            ValueError: when the trainer sums gradients over several batches, whose parts must not be cut one by one.
        """
        if getattr(engine, "accumulation_steps", 1) > 1:
            raise ValueError(
                "ClipGradient would cut parts of a summed gradient: set the trainer's accumulation_steps to 1"
            )
        parameters = [parameter for parameter in self.network.parameters() if parameter.grad is not None]
        norm = nn.utils.get_total_norm([parameter.grad for parameter in parameters if parameter.grad is not None])
        if self.max_norm is not None:
            nn.utils.clip_grads_with_norm_(parameters, self.max_norm, norm)
        engine.state.output["gradient_norm"] = norm
