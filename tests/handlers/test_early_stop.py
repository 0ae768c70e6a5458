from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ignite.engine import Engine, Events

from bundle.handlers.early_stop import EarlyStop

METRICS = [0.1, 0.5, 0.4, 0.5, 0.3, 0.9]  # the best before patience ends is that of epoch 2


def trainer_of(evaluator: Any, metrics: list[float], patience: int, steps: int = 3) -> Engine:
    trainer = Engine(lambda engine, batch: None)

    @trainer.on(Events.EPOCH_COMPLETED)
    def validate(engine: Engine) -> None:
        metric = metrics[engine.state.epoch - 1]
        if evaluator.state.best_metric_epoch == -1 or metric > evaluator.state.best_metric:
            evaluator.state.best_metric, evaluator.state.best_metric_epoch = metric, engine.state.epoch

    EarlyStop(evaluator, patience).attach(trainer)
    trainer.run(range(steps), max_epochs=len(metrics))
    return trainer


def evaluator_of(best: float = -1, epoch: int = -1) -> Any:
    return SimpleNamespace(state=SimpleNamespace(best_metric=best, best_metric_epoch=epoch))


@pytest.mark.parametrize(("patience", "last"), [(1, 3), (2, 4), (3, 5), (4, 6), (99, 6)])
def test_training_ends_when_patience_does(patience: int, last: int) -> None:
    trainer = trainer_of(evaluator_of(), METRICS, patience)
    assert (trainer.state.epoch, trainer.state.iteration) == (last, 3 * last)


def test_what_follows_training_is_still_done() -> None:
    done = []
    trainer = Engine(lambda engine, batch: None)
    trainer.add_event_handler(Events.COMPLETED, lambda: done.append(trainer.state.epoch))
    EarlyStop(evaluator_of(0.5, 0), patience=2).attach(trainer)
    trainer.run(range(2), max_epochs=9)
    assert done == [2]


def test_a_run_that_has_ended_stays_ended() -> None:
    seen = []
    trainer = Engine(lambda engine, batch: seen.append(batch))
    EarlyStop(evaluator_of(0.5, 1), patience=2).attach(trainer)

    @trainer.on(Events.STARTED)
    def restore(engine: Engine) -> None:
        engine.state.iteration, engine.state.epoch = 6, 3

    trainer.run(range(2), max_epochs=9)
    assert seen == []
