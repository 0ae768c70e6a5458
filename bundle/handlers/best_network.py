"""The network of the best validation, kept beside the checkpoints."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch.distributed as dist
from ignite.engine import Events
from monai.engines import Evaluator, Workflow
from torch import nn

from bundle.networks.weights.checkpoint import read_card, save_weights
from bundle.networks.weights.errors import WeightsError

from .metrics_log import scalar_metrics
from .revision import git_revision

__all__ = ["BestNetwork", "differing_facts"]

logger = logging.getLogger(__name__)

_WRITTEN_HERE = ("metrics", "best", "iterations", "git")


class BestNetwork:
    """Write the whole network whenever a validation is the best so far.

    Attach it to the trainer behind the `ValidationHandler`, before `Resume` and whatever else asks for the best metric;
    in every process, so that all know the same best metric: the first one writes. Only validations at the end of an
    epoch count, not those that are run again for a finished training. A metric that is not finite never wins.

    When training begins the file is compared with what is known of the run. A file of the epoch after the checkpoint
    (the run was killed between the two) is taken as the best so far; one that is not this run's goes.

    Args:
        path: the file, such as `best.safetensors`; the card beside it holds `card` and, as `best`, the name of the
            metric, its value and epoch.
        network: the trained network; may be wrapped for distributed training.
        evaluator: the engine that validates; MONAI compares its key metric with the best one.
        card: facts of the run for the card: method, data, seed, normalisation. By them a file of another run is known.

    Example:
        >>> handlers = [ValidationHandler(1, evaluator), BestNetwork("best.safetensors", network, evaluator, card)]
    """

    def __init__(self, path: str | Path, network: nn.Module, evaluator: Evaluator, card: Mapping[str, Any]) -> None:
        self.path = Path(path)
        self.network = network
        self.evaluator = evaluator
        self.card = dict(card)
        self._begun = False

    def attach(self, engine: Workflow) -> None:
        """Register with a trainer."""
        # Not at STARTED: the checkpoint is loaded there, by a handler that comes later.
        engine.add_event_handler(Events.STARTED, self._await_start)
        engine.add_event_handler(Events.EPOCH_STARTED, self._begin)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._write_if_best)

    def _await_start(self, engine: Workflow) -> None:
        self._begun = False

    def _begin(self, engine: Workflow) -> None:
        if not self._begun:
            self._begun = True
            self._agree_with_file(complete_epochs=engine.state.epoch - 1)

    def _agree_with_file(self, complete_epochs: int) -> None:
        """Make the best metric that is known and the file belong to each other.

        Every process looks at the file by itself. All come to the same, also those that look when the first one has
        removed it already: without a file, too, the best is looked for anew.
        """
        state = self.evaluator.state
        found = self._best_of_file()
        if found == (state.best_metric_epoch, state.best_metric):
            return
        if found is not None and state.best_metric_epoch != -1 and found[0] > complete_epochs:
            state.best_metric_epoch, state.best_metric = found
            logger.info("%s is of epoch %d, beyond the checkpoint: kept as the best so far", self.path, found[0])
            return
        if state.best_metric_epoch != -1 or self.path.exists():
            logger.warning("%s is not the best network of this run so far: looking for the best anew", self.path)
        self._forget()
        if _is_first():
            self.path.unlink(missing_ok=True)
            self.path.with_suffix(".json").unlink(missing_ok=True)

    def _best_of_file(self) -> tuple[int, float] | None:
        """Epoch and metric of the file; none where there is no file of a run with the same facts."""
        if not self.path.is_file():
            return None
        try:
            card = read_card(self.path)
        except WeightsError:  # killed between weights and card
            return None
        if "best" not in card or differing_facts(card, self.card):
            return None
        return card["best"]["epoch"], card["best"]["value"]

    def _write_if_best(self, engine: Workflow) -> None:
        state = self.evaluator.state
        if state.best_metric_epoch != engine.state.epoch:
            return
        if not math.isfinite(state.best_metric):  # MONAI takes the first value as the best, whatever it is
            self._forget()
        elif _is_first():
            self._write(engine)

    def _write(self, engine: Workflow) -> None:
        state = self.evaluator.state
        best = {"metric": state.key_metric_name, "value": float(state.best_metric), "epoch": engine.state.epoch}
        metrics = {name: value for name, value in scalar_metrics(self.evaluator).items() if math.isfinite(value)}
        facts = {"metrics": metrics, "best": best, "iterations": engine.state.iteration, "git": git_revision()}
        save_weights(self.network, self.path, self.card | facts)

    def _forget(self) -> None:
        self.evaluator.state.best_metric = self.evaluator.state.best_metric_epoch = -1


def differing_facts(written: Mapping[str, Any], expected: Mapping[str, Any]) -> list[str]:
    """What the card of a file says otherwise than expected, one text a fact, such as `seed: 0 there, 1 here`.

    Args:
        written: the card, as read.
        expected: facts of the present run; metrics, iterations and revision are not compared.
    """
    facts = json.loads(json.dumps(dict(expected), default=_plain))
    return [
        f"{name}: {written.get(name)} there, {value} here"
        for name, value in facts.items()
        if name not in _WRITTEN_HERE and written.get(name) != value
    ]


def _plain(value: Any) -> Any:
    """Arrays, numbers of libraries and paths, as a card holds them."""
    return value.tolist() if hasattr(value, "tolist") else str(value)


def _is_first() -> bool:
    return not (dist.is_available() and dist.is_initialized()) or dist.get_rank() == 0
