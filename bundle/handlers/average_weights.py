"""A running average of the network's weights, from the step at which something reads it."""

from __future__ import annotations

from typing import Any

from ignite.engine import Engine, Events
from timm.utils import ModelEmaV3
from torch import nn

__all__ = ["AverageWeights"]


class AverageWeights:
    """Keep an exponential moving average of parameters and buffers.

    At the beginning of each step the weights that the steps before have left are taken in. The first time they are
    taken as they are, be it in the middle of a training that another run has begun without average. No step waits for
    the device.

    Args:
        network: whose weights are averaged; may be wrapped for distributed training.
        average: holds the average.
        start_step: number of steps before the average begins.
    """

    def __init__(self, network: nn.Module, average: ModelEmaV3, start_step: int = 0) -> None:
        self.network: Any = getattr(network, "module", network)
        self.average = average
        self.start_step = start_step
        self.taken = 0

    def attach(self, engine: Engine) -> None:
        """Register with a trainer."""
        engine.add_event_handler(Events.ITERATION_STARTED, self)

    def __call__(self, engine: Engine) -> None:
        """Take in the present weights."""
        if engine.state.iteration > self.start_step:
            self.taken += 1
            self.average.update(self.network, step=self.taken)  # which copies them at step 1

    def state_dict(self) -> dict[str, Any]:
        """The average, and how often weights were taken in."""
        return {"taken": self.taken, "average": self.average.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        self.taken = state["taken"]
        self.average.load_state_dict(state["average"])
