from __future__ import annotations

from pathlib import Path

import pytest
import torch
from ignite.engine import Engine, Events
from toy_training import ToyNetwork, make_trainer

from bundle.handlers.json_lines import read_json_lines
from bundle.handlers.loss_record import LossRecord


class Losses:
    """The losses as the trainer has them."""

    def __init__(self) -> None:
        self.seen: list[float] = []

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.ITERATION_COMPLETED, lambda e: self.seen.append(e.state.output["loss"].item()))


@pytest.mark.parametrize("every", [1, 4, 100])
def test_every_step_is_recorded_to_the_last_bit(tmp_path: Path, every: int) -> None:
    path, losses = tmp_path / "losses.jsonl", Losses()
    make_trainer([LossRecord(path, every), losses], epochs=3).run()
    records = read_json_lines(path)
    assert [record["iteration"] for record in records] == [1, 2, 3, 4, 5, 6]
    assert [record["loss"] for record in records] == losses.seen
    assert list(records[0]) == ["iteration", "loss", "contrastive", "pseudo_segmentation"]
    assert torch.tensor(records[0]["loss"], dtype=torch.float32).item() == records[0]["loss"]


def test_a_record_is_on_disk_when_its_step_is_done(tmp_path: Path) -> None:
    path = tmp_path / "losses.jsonl"
    seen = []
    trainer = make_trainer([LossRecord(path)])
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda _: seen.append(len(read_json_lines(path))))
    trainer.run()
    assert seen == [1, 2, 3, 4]


def test_a_continued_run_leaves_the_record_of_one_that_never_stopped(tmp_path: Path) -> None:
    whole, parted = tmp_path / "whole.jsonl", tmp_path / "parted.jsonl"
    make_trainer([LossRecord(whole)], epochs=4).run()

    torch.manual_seed(0)
    network = ToyNetwork()
    make_trainer([LossRecord(parted)], network=network, epochs=2).run()
    state = {name: value.clone() for name, value in network.state_dict().items()}
    make_trainer([LossRecord(parted)], network=network, epochs=1).run()  # went on, beyond its checkpoint, was killed
    parted.write_text(whole.read_text()[: whole.read_text().index('{"iteration": 5')] + '{"iteration": 5, "loss": 9}\n')
    network.load_state_dict(state)
    trainer = make_trainer([LossRecord(parted)], network=network, epochs=4)
    trainer.state.iteration, trainer.state.epoch = 4, 2
    trainer.run()
    assert parted.read_text() == whole.read_text()
