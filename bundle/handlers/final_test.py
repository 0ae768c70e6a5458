"""The test list, seen once: by the network of the best validation, when training is complete."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch.distributed as dist
from ignite.engine import Events
from monai.engines import Evaluator, Workflow
from torch import nn

from bundle.networks.weights.checkpoint import load_weights, read_card
from bundle.networks.weights.errors import WeightsError

from .best_network import differing_facts

__all__ = ["FinalTest", "FinalTestError"]

logger = logging.getLogger(__name__)


class FinalTestError(ValueError):
    """The file of best weights does not belong to the run that is to be tested."""


class FinalTest:
    """Load the best weights when training is complete, validate them once more and test them.

    Attach it to the trainer in every process, before `Results` and whatever else reads the test engine's figures when
    the run is complete. From then on the network holds the weights that were tested. Without a file of best weights the
    last ones are tested. A finished run that is started again is tested again, to the same figures.

    Args:
        network: the trained network; may be wrapped for distributed training.
        weights_path: the file that `BestNetwork` writes.
        evaluator: the engine that tests.
        validator: the engine that validates; run before the test, so that thresholds chosen on validation items are
            those of the tested weights.
        card: facts that the file's card must share with the run: what was given to `BestNetwork`.

    Raises:
        FinalTestError: when the file is not of this run: a fact differs, or it is not of the epoch that the validator
            knows as its best.
    """

    def __init__(
        self,
        network: nn.Module,
        weights_path: str | Path,
        evaluator: Evaluator,
        validator: Evaluator | None = None,
        card: Mapping[str, Any] | None = None,
    ) -> None:
        self.network = network
        self.weights_path = Path(weights_path)
        self.evaluator = evaluator
        self.validator = validator
        self.card = dict(card or {})

    def attach(self, engine: Workflow) -> None:
        """Register with a trainer."""
        engine.add_event_handler(Events.COMPLETED, self)

    def __call__(self, engine: Workflow) -> None:
        """Load, validate, test."""
        epoch = _agreed(self._epoch_of_file)
        if epoch is None:
            epoch = engine.state.epoch
            logger.warning("%s is not there: the network of the last epoch, %d, is tested", self.weights_path, epoch)
        else:
            load_weights(self.network, self.weights_path)
            logger.info("testing the network of the best validation, after epoch %d", epoch)
        if self.validator is not None:
            self.validator.run(epoch)
        self.evaluator.run(epoch)

    def _epoch_of_file(self) -> int | None:
        """Epoch of the best weights, none where there are none."""
        if not self.weights_path.is_file():
            return None
        try:
            card = read_card(self.weights_path)
        except WeightsError as error:
            raise FinalTestError(str(error)) from error
        if differing := self._differing(card):
            raise FinalTestError(
                f"{self.weights_path} is not of this run ({'; '.join(differing)}): remove it to test the last weights, "
                "or give the run another name"
            )
        return card["best"]["epoch"]

    def _differing(self, card: Mapping[str, Any]) -> list[str]:
        differing = differing_facts(card, self.card)
        if "best" not in card:
            return [*differing, "it names no best epoch"]
        if self.validator is not None:
            # MONAI's own record, which a resumed run has from its checkpoint.
            known = {"epoch": self.validator.state.best_metric_epoch, "value": float(self.validator.state.best_metric)}
            differing += differing_facts(card["best"], known)
        return differing


def _agreed(look: Callable[[], int | None]) -> int | None:
    """What the first process sees, in every process, so that all take the same way; its error too."""
    several = dist.is_available() and dist.is_initialized()
    seen: list[Any] = [None]
    if not several or dist.get_rank() == 0:
        try:
            seen = [look()]
        except FinalTestError as error:
            seen = [error]
    if several:
        dist.broadcast_object_list(seen, src=0)
    if isinstance(seen[0], FinalTestError):
        raise seen[0]
    return seen[0]
