"""Stop a run whose loss is no number any more, before it overwrites a good checkpoint."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from ignite.engine import Events
from monai.engines import SupervisedTrainer
from torch import Tensor

from .loss_terms import step_scalars

__all__ = ["StopOnNonFinite"]


class StopOnNonFinite:
    """Raise when loss, a term of it or the norm of the gradient is infinite or not a number.

    The scalars stay on the device; only every so many steps are they looked at. Give `check` to whatever saves
    checkpoints, so that weights spoilt since the last look are never saved. List `ClipGradient` too: a gradient can
    overflow while the loss is still finite.

    With several processes attach it in all of them: the averaged gradient is spoilt in every process, all raise at the
    same step, and torchrun ends the others in any case.

    Args:
        every: steps between two looks; 1 costs nothing on a CPU.

    Example:
        >>> stop = StopOnNonFinite(every=50)
        >>> resume = Resume("runs/x/checkpoints", objects, before_save=[stop.check])
    """

    def __init__(self, every: int = 50) -> None:
        self.every = every
        self._steps: list[tuple[int, dict[str, Tensor], list[str]]] = []

    def attach(self, engine: SupervisedTrainer) -> None:
        """Register with a trainer."""
        engine.add_event_handler(Events.STARTED, self._clear)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def __call__(self, engine: SupervisedTrainer) -> None:
        """Keep this step; look when it is time."""
        self._steps.append((engine.state.iteration, step_scalars(engine), _item_ids(engine.state.batch)))
        if engine.state.iteration % self.every == 0:
            self.check(engine)

    def check(self, engine: SupervisedTrainer) -> None:
        """Look at all steps since the last look, with one transfer from the device.

        Raises:
            FloatingPointError: naming the first bad step, its scalars and its items.
        """
        if not self._steps:
            return
        values = iter(torch.stack([value for _, step, _ in self._steps for value in step.values()]).tolist())
        steps = [(number, {name: next(values) for name in step}, ids) for number, step, ids in self._steps]
        self._steps.clear()
        for number, scalars, ids in steps:
            if not all(map(math.isfinite, scalars.values())):
                named = ", ".join(f"{name} {value:g}" for name, value in scalars.items())
                raise FloatingPointError(
                    f"training stopped at iteration {number} because a value is not finite ({named}): look at the "
                    f"items of this batch ({', '.join(ids)}) or lower the learning rate, and start again from the "
                    "newest checkpoint"
                )

    def _clear(self, engine: SupervisedTrainer) -> None:
        self._steps.clear()


def _item_ids(batch: Any) -> list[str]:
    """Ids of a batch that is one dict or, decollated, one dict an item; they are on the host already."""
    if isinstance(batch, Mapping):
        return [str(name) for name in batch.get("id", ["without ids"])]
    return [str(item.get("id", "without id")) for item in batch]
