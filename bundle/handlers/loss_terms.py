"""The named terms of the loss, and all scalars of a step, without waiting for the device."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from monai.engines import IterationEvents, SupervisedTrainer
from torch import Tensor

__all__ = ["LossTerms", "step_scalars"]


class LossTerms:
    """Copy the terms of the loss into the trainer's output, where any handler finds them by name.

    The loss module keeps them in `last`, detached scalars on the device; they stay there.
    """

    def attach(self, engine: SupervisedTrainer) -> None:
        """Register with a trainer."""
        engine.add_event_handler(IterationEvents.LOSS_COMPLETED, self)

    def __call__(self, engine: SupervisedTrainer) -> None:
        """Copy the terms of this step."""
        engine.state.output.update(_terms(engine))


def step_scalars(engine: SupervisedTrainer) -> dict[str, Tensor]:
    """The scalars of the present step: `loss`, its named terms, and `gradient_norm` where it is measured.

    Args:
        engine: a trainer, after the step; its output may be one dict or, decollated, one dict an item.

    Returns:
        Detached scalars `[]` on the trainer's device; nothing is waited for.
    """
    output = engine.state.output
    output = output if isinstance(output, Mapping) else output[0]
    measured = {"gradient_norm": output["gradient_norm"]} if "gradient_norm" in output else {}
    # What LossTerms kept goes first: a validation since the step may have called the loss again.
    terms = {name: output.get(name, value) for name, value in _terms(engine).items()}
    scalars = {"loss": output["loss"]} | terms | measured
    # Decollation, which waits for the device in any case, makes plain numbers of some.
    return {name: torch.as_tensor(value, device=engine.state.device).detach() for name, value in scalars.items()}


def _terms(engine: SupervisedTrainer) -> dict[str, Tensor]:
    """The named terms of the latest loss; none where the loss is a single one, as MONAI's are."""
    return dict(getattr(engine.loss_function, "last", {}))
