"""Start the decoder and its loss some steps after the alignment."""

from __future__ import annotations

from typing import Any

from ignite.engine import Engine, Events
from torch import nn

__all__ = ["DelayedDecoder"]


class DelayedDecoder:
    """Leave the decoder out of the first `start_step` steps: neither run nor scored.

    Args:
        network: has the attribute `decoding`, as `G2D`; may be wrapped for distributed training.
        loss: the sum that holds the decoder's term; has `pause(name, paused)`, as `WeightedSum`.
        start_step: number of steps without decoder (`pa_start_step`; 200 in the released code, 0 in the paper).
        term: name of the decoder's loss.
    """

    def __init__(
        self, network: nn.Module, loss: nn.Module, start_step: int = 0, term: str = "pseudo_segmentation"
    ) -> None:
        self.network: Any = getattr(network, "module", network)
        self.loss: Any = loss
        self.start_step = start_step
        self.term = term

    def attach(self, engine: Engine) -> None:
        """Register with a trainer."""
        engine.add_event_handler(Events.ITERATION_STARTED, self)

    def __call__(self, engine: Engine) -> None:
        """Pause or start by the number of the step, which also holds after a resume."""
        started = engine.state.iteration > self.start_step
        self.network.decoding = started
        self.loss.pause(self.term, not started)
