"""How fast training runs and what it waits for."""

from __future__ import annotations

import resource
import sys
import time
from collections import deque
from collections.abc import Mapping
from typing import Any

import torch
import torch.distributed as dist
from ignite.engine import Events
from monai.engines import SupervisedTrainer

__all__ = ["FIGURES", "Throughput", "peak_memory_gib"]

FIGURES = ("pairs_per_s", "ms_per_step", "data_share", "pairs_per_s_mean", "seconds_left", "peak_memory_gib")


class Throughput:
    """Measure speed on the host, without ever waiting for the device.

    A step lasts from asking for its batch until this handler sees it completed; validation and checkpoints between
    steps do not count. On a GPU the host runs ahead of the device, by less than the steps between two logs: averaged
    over a window the figures are right. List it before `LogTerms`, which waits for the device inside the step.

    `engine.state.throughput` holds, once a step after the warm-up is complete:

    - `pairs_per_s`: pairs of all processes per second, over the last `window` steps;
    - `ms_per_step`, `data_share`: milliseconds a step, and the share of it spent waiting for the batch, in [0, 1];
    - `pairs_per_s_mean`: as the first, over the whole run after the warm-up;
    - `seconds_left`: time until the last iteration at the present speed, validations left out;
    - `peak_memory_gib`: the most memory used so far, see `peak_memory_gib`.

    Args:
        warm_up: first steps of a run that are left out: they fill caches, choose kernels and start workers.
        window: number of steps averaged and between two updates.
    """

    def __init__(self, warm_up: int = 5, window: int = 50) -> None:
        self.warm_up = warm_up
        self.window = window
        self._restart()

    def attach(self, engine: SupervisedTrainer) -> None:
        """Register with a trainer."""
        engine.add_event_handler(Events.STARTED, self._begin_run)
        engine.add_event_handler(Events.GET_BATCH_STARTED, self._ask)
        engine.add_event_handler(Events.GET_BATCH_COMPLETED, self._receive)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._complete)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.update)

    def update(self, engine: SupervisedTrainer) -> None:
        """Compute the figures from the steps seen so far."""
        if not self._recent:
            return
        seconds, waiting, pairs = (sum(column) for column in zip(*self._recent, strict=True))
        steps_left = engine.state.max_epochs * engine.state.epoch_length - engine.state.iteration
        engine.state.throughput = {
            "pairs_per_s": pairs / seconds,
            "ms_per_step": 1000 * seconds / len(self._recent),
            "data_share": waiting / seconds,
            "pairs_per_s_mean": self._pairs / self._seconds,
            "seconds_left": steps_left * seconds / len(self._recent),
            "peak_memory_gib": peak_memory_gib(engine.state.device),
        }

    def _restart(self) -> None:
        self._steps = 0
        self._seconds = self._pairs = 0.0
        self._asked = self._received = 0.0
        self._recent: deque[tuple[float, float, float]] = deque(maxlen=self.window)

    def _begin_run(self, engine: SupervisedTrainer) -> None:
        self._restart()
        engine.state.throughput = {}

    def _ask(self, engine: SupervisedTrainer) -> None:
        self._asked = time.perf_counter()

    def _receive(self, engine: SupervisedTrainer) -> None:
        self._received = time.perf_counter()

    def _complete(self, engine: SupervisedTrainer) -> None:
        self._steps += 1
        if self._steps <= self.warm_up:
            return
        seconds = time.perf_counter() - self._asked
        pairs = float(_items(engine.state.batch) * _processes())
        self._seconds += seconds
        self._pairs += pairs
        self._recent.append((seconds, self._received - self._asked, pairs))
        end_of_epoch = engine.state.iteration % engine.state.epoch_length == 0
        if self._steps % self.window == 0 or len(self._recent) == 1 or end_of_epoch:
            self.update(engine)


def peak_memory_gib(device: torch.device | None) -> float:
    """The most memory used so far, in GiB: allocated on a CUDA device, else resident in this process."""
    if device is not None and device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30


def _items(batch: Any) -> int:
    """Number of items of a batch that is one dict or, decollated, one dict an item."""
    return len(next(iter(batch.values()))) if isinstance(batch, Mapping) else len(batch)


def _processes() -> int:
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1
