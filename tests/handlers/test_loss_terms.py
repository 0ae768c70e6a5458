from __future__ import annotations

from typing import Any

import pytest
import torch
from ignite.engine import Engine, Events
from monai.engines import IterationEvents
from toy_training import ToyLoss, make_trainer

from bundle.handlers.gradient import ClipGradient
from bundle.handlers.loss_terms import LossTerms, step_scalars


class Watch:
    """Calls a function with the engine at an event and keeps the answers."""

    def __init__(self, event: Any, look: Any) -> None:
        self.event, self.look, self.seen = event, look, []

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(self.event, lambda engine: self.seen.append(self.look(engine)))


def test_the_output_holds_the_terms_of_its_own_step() -> None:
    loss = ToyLoss()
    watch = Watch(
        IterationEvents.BACKWARD_COMPLETED,
        lambda e: (e.state.output["contrastive"] + e.state.output["pseudo_segmentation"], e.state.output["loss"]),
    )
    make_trainer([LossTerms(), watch], loss=loss).run()
    assert len(watch.seen) == 4
    for parts, whole in watch.seen:
        torch.testing.assert_close(parts, whole.detach())


@pytest.mark.parametrize("decollate", [False, True])
def test_scalars_of_a_step(decollate: bool) -> None:
    trainer = make_trainer([], decollate=decollate)
    ClipGradient(trainer.network).attach(trainer)
    watch = Watch(Events.ITERATION_COMPLETED, step_scalars)
    watch.attach(trainer)
    trainer.run()
    assert list(watch.seen[0]) == ["loss", "contrastive", "pseudo_segmentation", "gradient_norm"]
    assert all(isinstance(value, torch.Tensor) and value.shape == () for value in watch.seen[0].values())
    assert not any(value.requires_grad for value in watch.seen[0].values())
    torch.testing.assert_close(
        watch.seen[0]["loss"], watch.seen[0]["contrastive"] + watch.seen[0]["pseudo_segmentation"]
    )


def test_a_loss_without_terms_is_one_scalar() -> None:
    class Single(torch.nn.Module):
        def forward(self, prediction: Any, target: Any) -> torch.Tensor:
            return prediction["logits"].square().mean()

    watch = Watch(Events.ITERATION_COMPLETED, step_scalars)
    make_trainer([LossTerms(), watch], loss=Single()).run()
    assert list(watch.seen[0]) == ["loss"]


def test_a_validation_after_the_step_does_not_change_its_terms() -> None:
    loss = ToyLoss()

    def validate(engine: Any) -> None:
        loss.last = {name: torch.tensor(-1.0) for name in loss.last}

    watch = Watch(Events.ITERATION_COMPLETED, step_scalars)
    trainer = make_trainer([LossTerms()], loss=loss)
    trainer.add_event_handler(Events.ITERATION_COMPLETED, validate)
    watch.attach(trainer)
    trainer.run()
    assert all(scalars["contrastive"] > 0 for scalars in watch.seen)
