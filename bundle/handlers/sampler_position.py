"""Tell the sampler where in training it is."""

from __future__ import annotations

from typing import Protocol

from ignite.engine import Events
from monai.engines import Workflow

__all__ = ["SamplerPosition"]


class _PositionedSampler(Protocol):
    def set_epoch(self, epoch: int) -> None: ...
    def set_start(self, batch: int) -> None: ...


class SamplerPosition:
    """At the start of an epoch give the batch sampler its number and, after a resume, the batch to begin with.

    Args:
        sampler: has `set_epoch(epoch)` and `set_start(batch)`, as `ShardedBatchSampler`.
    """

    def __init__(self, sampler: _PositionedSampler) -> None:
        self.sampler = sampler

    def attach(self, engine: Workflow) -> None:
        """Register with a trainer."""
        engine.add_event_handler(Events.EPOCH_STARTED, self)

    def __call__(self, engine: Workflow) -> None:
        """Set epoch and start from the trainer's iteration."""
        self.sampler.set_epoch(engine.state.epoch)
        self.sampler.set_start(engine.state.iteration % engine.state.epoch_length)
