"""The average beside the network, the scores it gives, and when it is brought up to date."""

from __future__ import annotations

import pytest
import torch
from ignite.engine import Engine
from timm.utils import ModelEmaV3
from torch import Tensor, nn

from bundle.handlers.average_weights import AverageWeights
from bundle.inferers.averaged import AveragedInferer
from bundle.transforms.averaged_score import AveragedScore


class Doubling(nn.Module):
    """Logits are a trained factor times the input; without decoder there are none."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(factor))
        self.decoding = True

    def forward(self, x: Tensor, shift: float = 0.0) -> dict[str, Tensor]:
        y = self.factor * x + shift
        return {"map": y, "logits": y} if self.decoding or not self.training else {"map": y}


def averaged(factor: float, decay: float = 0.9) -> ModelEmaV3:
    return ModelEmaV3(Doubling(factor), decay=decay)


def test_the_average_speaks_beside_the_network_and_gets_no_gradient() -> None:
    network, average = Doubling(2.0), averaged(5.0)
    x = torch.tensor([1.0, 3.0])
    prediction = AveragedInferer(average, precision="fp32")(x, network, shift=1.0)
    assert prediction["logits"].tolist() == [3.0, 7.0]
    assert AveragedScore(lambda p: p["map"])(prediction).tolist() == [6.0, 16.0]
    assert prediction["logits"].requires_grad
    assert not prediction["averaged"]["logits"].requires_grad


def test_without_decoder_nobody_reads_masks_and_the_average_is_not_asked() -> None:
    network = Doubling(2.0).train()
    network.decoding = False
    average = averaged(5.0)
    average.module.forward = None  # type: ignore[assignment, method-assign]
    assert AveragedInferer(average, precision="fp32")(torch.ones(1), network).keys() == {"map"}


@pytest.mark.parametrize("start_step", [0, 3])
def test_it_begins_as_the_network_is_then_and_follows_by_its_decay(start_step: int) -> None:
    network, average = Doubling(0.0), averaged(100.0, decay=0.75)

    def step(engine: Engine, batch: int) -> None:
        network.factor.data.fill_(float(engine.state.iteration))

    trainer = Engine(step)
    averaging = AverageWeights(network, average, start_step)
    averaging.attach(trainer)
    trainer.run(range(start_step), max_epochs=1) if start_step else None
    assert average.module.factor.item() == 100.0  # nothing was averaged yet
    trainer.run(range(start_step + 3), max_epochs=1)
    # Weights at the beginnings of three steps, s, s + 1 and s + 2 (s steps have set them to s): taken as they are, then
    # a quarter of each next one.
    first = start_step
    second = 0.75 * first + 0.25 * (first + 1)
    third = 0.75 * second + 0.25 * (first + 2)
    assert average.module.factor.item() == pytest.approx(third)
    # Another process goes on with the average as it was, not with the weights as they are.
    further = AverageWeights(network, averaged(100.0, decay=0.75))
    further.load_state_dict(averaging.state_dict())
    further.attach(trainer)
    trainer.run(range(1), max_epochs=1)
    assert further.average.module.factor.item() == pytest.approx(0.75 * third + 0.25 * (first + 3))


def test_it_copies_the_network_first_wherever_the_training_is() -> None:
    network, average = Doubling(7.0), averaged(100.0)
    trainer = Engine(lambda engine, batch: None)
    AverageWeights(network, average).attach(trainer)
    trainer.load_state_dict({"iteration": 300, "max_epochs": 31, "epoch_length": 10})
    trainer.run(range(10))
    assert average.module.factor.item() == 7.0
