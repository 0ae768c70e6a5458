"""A supervised training small enough to run in a test, with a validation metric that a test dictates."""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Events
from ignite.metrics import Metric
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from monai.handlers import ValidationHandler
from torch import nn

from bundle.handlers.best_network import BestNetwork
from bundle.handlers.named_metrics import prediction_and_target
from bundle.handlers.resume import Resume

CARD = {"method": "toy", "preset": "p", "data": {"name": "l", "sha256": "0"}, "image_mean": 0.4, "image_std": 0.2}


class Killed(Exception):
    """Stands for the end of a process."""


class Dictated(Metric):
    """The value of an epoch as a script gives it."""

    def __init__(self, values: Mapping[int, float]) -> None:
        super().__init__(prediction_and_target)
        self.values = values

    def reset(self) -> None:
        pass

    def update(self, output: Any) -> None:
        pass

    def compute(self) -> float:
        return self.values[self.engine.state.epoch]

    def attach(self, engine: Any, name: str, *args: Any, **kwargs: Any) -> None:
        self.engine = engine
        super().attach(engine, name, *args, **kwargs)


class MeanOutput(Metric):
    """What a network answers on average: it tells weights apart."""

    def __init__(self) -> None:
        super().__init__(prediction_and_target)

    def reset(self) -> None:
        self.outputs: list[float] = []

    def update(self, output: Any) -> None:
        self.outputs.append(float(output[0].mean()))

    def compute(self) -> float:
        return sum(self.outputs) / len(self.outputs)


def make_network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))


def make_batches(items: int = 8) -> list[dict[str, torch.Tensor]]:
    image = torch.linspace(-1, 1, items * 3).reshape(items, 3)
    return [{"image": image[start : start + 4], "label": image[start : start + 4, :1] * 2} for start in (0, 4)]


def make_evaluator(network: nn.Module, values: Mapping[int, float] | None = None, **metrics: Metric) -> Any:
    """An evaluator; with values its key metric `score` has them, by epoch."""
    return SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=make_batches(),
        network=network,
        key_val_metric={"score": Dictated(values)} if values is not None else {"answer": MeanOutput()},
        additional_metrics=metrics or None,
        decollate=False,
    )


def make_trainer(network: nn.Module, epochs: int, handlers: Sequence[Any], rate: float = 0.1) -> SupervisedTrainer:
    return SupervisedTrainer(
        device=torch.device("cpu"),
        max_epochs=epochs,
        train_data_loader=make_batches(),
        network=network,
        optimizer=torch.optim.SGD(network.parameters(), rate),
        loss_function=nn.functional.mse_loss,
        train_handlers=list(handlers),
        decollate=False,
    )


class At:
    """Calls something with the trainer at an event: a handler between others."""

    def __init__(self, event: Any, action: Any) -> None:
        self.event, self.action = event, action

    def attach(self, engine: Any) -> None:
        engine.add_event_handler(self.event, self.action)


class Run:
    """A training with validation, best network and resume, in a folder.

    Args:
        folder: of the run.
        values: of the key metric, by epoch.
        kill_at: epoch at which the process ends after the best network was written, before the checkpoint.
        card: facts of the run.
        last: further handlers, behind `Resume`; made from this run.
        interval: epochs between validations.
    """

    def __init__(
        self,
        folder: Path,
        values: Mapping[int, float],
        kill_at: int | None = None,
        card: Mapping[str, Any] = CARD,
        last: Any = lambda run: [],
        interval: int = 1,
    ) -> None:
        self.path = folder / "models" / "best.safetensors"
        self.network = make_network()
        self.evaluator = make_evaluator(self.network, values, answer=MeanOutput())
        self.weights: dict[int, dict[str, torch.Tensor]] = {}
        self.kill_at = kill_at
        best = BestNetwork(self.path, self.network, self.evaluator, card)
        resume = Resume(folder / "checkpoints", {"network": self.network}, evaluator=self.evaluator)
        handlers = [ValidationHandler(interval, self.evaluator), best, At(Events.EPOCH_COMPLETED, self._look), resume]
        self.trainer = make_trainer(self.network, max(values), [*handlers, *last(self)])

    def _look(self, engine: Any) -> None:
        self.weights[engine.state.epoch] = {name: value.clone() for name, value in self.network.state_dict().items()}
        if engine.state.epoch == self.kill_at:
            raise Killed

    def go(self) -> Run:
        """Train until the end or the kill; what answers SIGTERM in this process stays."""
        answer = signal.getsignal(signal.SIGTERM)
        try:
            with suppress(Killed):
                self.trainer.run()
        finally:
            signal.signal(signal.SIGTERM, answer)
        return self
