from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

import pytest
from ignite.engine import Engine, Events
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor, nn
from toy_training import ToyLoss, ToyNetwork, make_batches, make_trainer

from bundle.handlers.gradient import ClipGradient
from bundle.handlers.json_lines import read_json_lines
from bundle.handlers.log_terms import LogTerms
from bundle.handlers.loss_record import LossRecord
from bundle.handlers.throughput import Throughput


def run(folder: Path, every: int, epochs: int = 2, loss: nn.Module | None = None) -> tuple[list, list]:
    """Train 4 steps an epoch; return the readings and, from another handler, the scalars of each step."""
    network = ToyNetwork()
    handlers = [ClipGradient(network), Throughput(0), LossRecord(folder / "losses.jsonl"), LogTerms(every, folder)]
    make_trainer(handlers, batches=make_batches(16), network=network, epochs=epochs, loss=loss).run()
    return read_json_lines(folder / "training.jsonl"), read_json_lines(folder / "losses.jsonl")


def test_each_reading_is_the_mean_since_the_one_before(tmp_path: Path) -> None:
    readings, steps = run(tmp_path, every=3)
    assert [reading["iteration"] for reading in readings] == [3, 4, 6, 8]  # and at the ends of epochs
    for name in ("loss", "contrastive", "pseudo_segmentation", "gradient_norm"):
        for reading, part in zip(readings, [steps[:3], steps[3:4], steps[4:6], steps[6:]], strict=True):
            assert reading[name] == pytest.approx(sum(step[name] for step in part) / len(part), rel=1e-5)
    assert readings[0]["epoch"] == 0.75
    assert readings[0]["learning_rate"] == pytest.approx(0.1)
    assert readings[-1]["pairs_per_s"] > 0


def test_a_term_that_starts_late_is_averaged_over_its_own_steps(tmp_path: Path) -> None:
    class Late(ToyLoss):
        def forward(self, prediction: Any, target: Any) -> Tensor:
            loss = super().forward(prediction, target)
            if self.calls < 4:
                self.last.pop("pseudo_segmentation")
            return loss

    readings, steps = run(tmp_path, every=4, epochs=1, loss=Late())
    assert "pseudo_segmentation" not in steps[2]
    assert readings[0]["pseudo_segmentation"] == pytest.approx(steps[3]["pseudo_segmentation"])


def test_between_readings_nothing_leaves_the_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network, reads = ToyNetwork(), []
    trainer = make_trainer([ClipGradient(network), LogTerms(4, tmp_path)], batches=make_batches(16), network=network)
    tolist = Tensor.tolist
    for name in ("item", "cpu", "numpy", "__float__", "__bool__"):
        monkeypatch.setattr(Tensor, name, lambda *_: pytest.fail("a tensor was read in a training step"))
    monkeypatch.setattr(Tensor, "tolist", lambda self: reads.append(trainer.state.iteration) or tolist(self))
    trainer.run()
    assert reads == [4, 8]


def test_the_learning_rate_is_that_of_the_step_not_of_the_next(tmp_path: Path) -> None:
    def halve(engine: Any) -> None:
        engine.optimizer.param_groups[0]["lr"] /= 2

    trainer = make_trainer([], epochs=1)
    trainer.add_event_handler(Events.ITERATION_COMPLETED, halve)
    LogTerms(1, tmp_path).attach(trainer)
    trainer.run()
    assert [reading["learning_rate"] for reading in read_json_lines(tmp_path / "training.jsonl")] == [0.1, 0.05]


def test_the_line_says_where_training_is(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="bundle"):
        run(tmp_path, every=4)
    lines = [record.message for record in caplog.records if record.name == "bundle.handlers.log_terms"]
    assert len(lines) == 2
    for part in ("epoch 2/2", "iteration 8/8", "loss ", "contrastive ", "gradient ", "learning_rate 0.1", "pairs/s "):
        assert part in lines[1]
    assert lines[1].endswith("left 0:00:00")


def test_tensorboard_holds_the_readings(tmp_path: Path) -> None:
    readings, _ = run(tmp_path, every=4)
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    points = [(event.step, event.value) for event in events.Scalars("training/contrastive")]
    assert points == [(r["iteration"], pytest.approx(r["contrastive"], rel=1e-6)) for r in readings]


def test_without_folder_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make_trainer([LogTerms(1)]).run()
    assert list(tmp_path.iterdir()) == []


def test_the_bar_shows_terms_speed_and_epoch(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    root_handlers = list(logging.root.handlers)
    make_trainer([Throughput(0), LogTerms(1)]).run()
    shown = capsys.readouterr().err
    assert "Epoch [2/2]" in shown
    assert "2/2" in shown
    assert "contrastive=" in shown
    assert "pairs/s=" in shown
    assert "left=" in shown
    assert logging.root.handlers == root_handlers


def test_off_a_terminal_there_is_no_bar(capsys: pytest.CaptureFixture) -> None:
    make_trainer([LogTerms(1)]).run()
    assert "Epoch [" not in capsys.readouterr().err


class Position:
    def __init__(self, iteration: int) -> None:
        self.iteration = iteration

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.STARTED, self.load)

    def load(self, engine: Engine) -> None:
        engine.state.iteration, engine.state.epoch = self.iteration, self.iteration // 2


def test_a_resumed_run_continues_its_readings(tmp_path: Path) -> None:
    make_trainer([LogTerms(1, tmp_path)], epochs=3).run()
    make_trainer([LogTerms(1, tmp_path), Position(4)], epochs=4, seed=1).run()
    assert [reading["iteration"] for reading in read_json_lines(tmp_path / "training.jsonl")] == list(range(1, 9))
    events = EventAccumulator(str(tmp_path), purge_orphaned_data=True)
    events.Reload()
    assert [event.step for event in events.Scalars("training/loss")] == list(range(1, 9))
