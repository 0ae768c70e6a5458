from __future__ import annotations

from typing import Any

import pytest
import torch
from ignite.engine import Engine
from monai.engines import IterationEvents
from toy_training import ToyLoss, ToyNetwork, make_trainer

from bundle.handlers.gradient import ClipGradient


class Gradients:
    """Keeps all gradients of each step, as one vector, and the norm in the output."""

    def __init__(self) -> None:
        self.seen: list[torch.Tensor] = []
        self.norms: list[torch.Tensor | None] = []

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(IterationEvents.BACKWARD_COMPLETED, self)

    def __call__(self, engine: Any) -> None:
        gradients = [p.grad.flatten().clone() for p in engine.network.parameters() if p.grad is not None]
        self.seen.append(torch.cat(gradients))
        self.norms.append(engine.state.output.get("gradient_norm"))


def gradients(max_norm: float | None) -> tuple[Gradients, Gradients]:
    torch.manual_seed(0)
    network = ToyNetwork()
    network.decode.requires_grad_(False)  # a frozen part has no gradient
    before, after = Gradients(), Gradients()
    make_trainer([before, ClipGradient(network, max_norm), after], network=network, epochs=1).run()
    return before, after


def test_without_maximum_the_gradient_is_measured_and_left_alone() -> None:
    before, after = gradients(None)
    for raw, kept, norm in zip(before.seen, after.seen, after.norms, strict=True):
        assert torch.equal(raw, kept)
        torch.testing.assert_close(norm, raw.norm())
    assert before.norms == [None, None]


def test_a_long_gradient_is_scaled_to_the_maximum() -> None:
    before, after = gradients(0.01)
    for raw, kept, norm in zip(before.seen, after.seen, after.norms, strict=True):
        assert raw.norm() > 0.02
        torch.testing.assert_close(norm, raw.norm())
        torch.testing.assert_close(kept, raw * 0.01 / raw.norm(), rtol=1e-3, atol=0)


def test_a_short_gradient_keeps_its_length() -> None:
    before, after = gradients(1e6)
    assert torch.equal(before.seen[0], after.seen[0])


def test_a_broken_gradient_passes_and_shows() -> None:
    network = ToyNetwork()
    after = Gradients()
    make_trainer([ClipGradient(network, 1.0), after], network=network, loss=ToyLoss(poison=1), epochs=1).run()
    assert after.norms[0] is not None
    assert after.norms[0].isnan()


def test_summed_gradients_are_refused() -> None:
    network = ToyNetwork()
    trainer = make_trainer([ClipGradient(network, 1.0)], network=network, accumulation_steps=2)
    with pytest.raises(ValueError, match="accumulation_steps to 1"):
        trainer.run()
