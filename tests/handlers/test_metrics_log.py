from __future__ import annotations

import logging
from pathlib import Path

import pytest
from ignite.engine import Engine, Events
from monai.handlers import ValidationHandler
from toy_training import bright, make_evaluator, make_trainer

from bundle.handlers.json_lines import read_json_lines
from bundle.handlers.metrics_log import MetricsLog
from bundle.handlers.named_metrics import NamedMetrics
from bundle.handlers.throughput import Throughput
from bundle.metrics.mask_overlap import MaskOverlap


class Position:
    """Loads a position when the run starts, as a resume handler does, after all others."""

    def __init__(self, iteration: int) -> None:
        self.iteration = iteration

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.STARTED, self.load)

    def load(self, engine: Engine) -> None:
        engine.state.iteration, engine.state.epoch = self.iteration, self.iteration // 2


def train(path: Path, epochs: int, start: int = 0, interval: int = 1, epoch_level: bool = True) -> None:
    evaluator = make_evaluator(metrics={"masks": NamedMetrics(MaskOverlap(bright))})
    validate = ValidationHandler(interval, evaluator, epoch_level)
    make_trainer([Throughput(0), MetricsLog(path, evaluator), validate, Position(start)], epochs).run()


def test_one_line_a_validation(tmp_path: Path) -> None:
    train(tmp_path / "metrics.jsonl", epochs=4, interval=2)
    lines = read_json_lines(tmp_path / "metrics.jsonl")
    assert [(line["epoch"], line["iteration"]) for line in lines] == [(2, 4), (4, 8)]
    assert 0 <= lines[0]["decoder_mask_dice"] <= 1
    assert lines[0]["pairs_per_s"] > 0


def test_a_validation_within_an_epoch_has_the_iteration_of_the_trainer(tmp_path: Path) -> None:
    train(tmp_path / "metrics.jsonl", epochs=2, interval=3, epoch_level=False)
    lines = read_json_lines(tmp_path / "metrics.jsonl")
    assert [(line["epoch"], line["iteration"]) for line in lines] == [(2, 3)]


def test_a_resumed_run_has_each_validation_once(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    train(path, epochs=3)
    train(path, epochs=5, start=2)
    assert [line["iteration"] for line in read_json_lines(path)] == [2, 4, 6, 8, 10]


def test_the_log_has_a_line_too(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="bundle"):
        train(tmp_path / "metrics.jsonl", epochs=1)
    assert "validation after epoch 1, iteration 2  decoder_mask_dice" in caplog.text


def test_a_validation_of_the_best_weights_at_the_end_is_no_line(tmp_path: Path) -> None:
    evaluator = make_evaluator(metrics={"masks": NamedMetrics(MaskOverlap(bright))})
    log = MetricsLog(tmp_path / "metrics.jsonl", evaluator)
    trainer = make_trainer([log, ValidationHandler(2, evaluator)], epochs=3)
    trainer.add_event_handler(Events.COMPLETED, lambda: evaluator.run(2))
    trainer.run()
    assert [line["epoch"] for line in read_json_lines(tmp_path / "metrics.jsonl")] == [2]
