from __future__ import annotations

from typing import Any

import pytest
import torch
from ignite.engine import Engine, Events
from monai.engines import IterationEvents
from toy_training import ToyLoss, ToyNetwork, make_trainer

from bundle.handlers.gradient import ClipGradient
from bundle.handlers.non_finite import StopOnNonFinite


class BreakGradient:
    """Makes the gradient infinite at one iteration, while the loss stays a number."""

    def __init__(self, iteration: int) -> None:
        self.iteration = iteration

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(IterationEvents.BACKWARD_COMPLETED, self)

    def __call__(self, engine: Any) -> None:
        if engine.state.iteration == self.iteration:
            engine.network.decode.bias.grad.fill_(torch.inf)


@pytest.mark.parametrize("every", [1, 2, 4])
def test_the_first_bad_step_is_named(every: int) -> None:
    trainer = make_trainer([StopOnNonFinite(every)], loss=ToyLoss(poison=2), epochs=4)
    with pytest.raises(FloatingPointError) as error:
        trainer.run()
    message = str(error.value)
    assert "iteration 2 " in message
    assert "contrastive nan" in message
    assert "item4, item5, item6, item7" in message
    assert "item3" not in message
    assert "\n" not in message
    assert trainer.state.iteration == max(2, every)


def test_an_infinite_gradient_stops_although_the_loss_is_a_number() -> None:
    network = ToyNetwork()
    handlers = [BreakGradient(3), ClipGradient(network), StopOnNonFinite(1)]
    trainer = make_trainer(handlers, network=network, epochs=4)
    with pytest.raises(FloatingPointError, match=r"iteration 3 .*gradient_norm inf"):
        trainer.run()


def test_a_guarded_save_never_sees_spoilt_weights() -> None:
    stop, saved = StopOnNonFinite(every=100), []

    def save(engine: Any) -> None:
        stop.check(engine)
        saved.append((engine.state.iteration, all(p.isfinite().all() for p in engine.network.parameters())))

    trainer = make_trainer([stop], loss=ToyLoss(poison=3), epochs=4)
    trainer.add_event_handler(Events.ITERATION_COMPLETED, save)
    with pytest.raises(FloatingPointError, match="iteration 3 "):
        trainer.run()
    assert saved == [(1, True), (2, True)]


def test_a_sound_run_goes_through_and_keeps_nothing_between_looks() -> None:
    stop = StopOnNonFinite(every=2)
    trainer = make_trainer([stop], epochs=3)
    trainer.run()
    assert trainer.state.iteration == 6
    assert stop._steps == []


def test_items_are_named_after_decollation_too() -> None:
    trainer = make_trainer([StopOnNonFinite(1)], loss=ToyLoss(poison=1), decollate=True)
    with pytest.raises(FloatingPointError, match="item0, item1, item2, item3"):
        trainer.run()
