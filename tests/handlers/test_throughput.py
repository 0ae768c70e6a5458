from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from ignite.engine import Engine, Events
from toy_training import make_batches, make_trainer

from bundle.handlers.throughput import FIGURES, Throughput, peak_memory_gib


class Clock:
    """Time that passes only where the test says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(time, "perf_counter", lambda: self.now)


class SlowBatches:
    """Batches of four that take some seconds each to arrive; the very first takes longer."""

    def __init__(self, clock: Clock, waits: list[float]) -> None:
        self.clock, self.waits = clock, waits

    def __len__(self) -> int:
        return len(self.waits)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for wait, batch in zip(self.waits, make_batches(4 * len(self.waits)), strict=True):
            self.clock.now += wait
            yield batch


class Work:
    """Takes seconds inside a step, and more between epochs."""

    def __init__(self, clock: Clock, seconds: float, between: float) -> None:
        self.clock, self.seconds, self.between = clock, seconds, between

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.ITERATION_STARTED, lambda _: self.pass_time(self.seconds))
        engine.add_event_handler(Events.EPOCH_COMPLETED, lambda _: self.pass_time(self.between))

    def pass_time(self, seconds: float) -> None:
        self.clock.now += seconds


def test_figures_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    data: Any = SlowBatches(clock, [50.0, 1.0, 1.0])  # the first step of each epoch waits long; one is warm-up
    trainer = make_trainer([Work(clock, 3.0, 1000.0), Throughput(warm_up=1, window=10)], batches=data, epochs=2)
    trainer.run()
    # Steps counted: 4, 4 | 53, 4, 4 seconds; of them waiting 1, 1 | 50, 1, 1. Validation between epochs is no step.
    figures = trainer.state.throughput
    assert tuple(figures) == FIGURES
    assert figures["pairs_per_s"] == pytest.approx(20 / 69)
    assert figures["pairs_per_s_mean"] == pytest.approx(20 / 69)
    assert figures["ms_per_step"] == pytest.approx(1000 * 69 / 5)
    assert figures["data_share"] == pytest.approx(54 / 69)
    assert figures["seconds_left"] == 0


def test_the_window_forgets_and_the_mean_remembers(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    data: Any = SlowBatches(clock, [1.0, 1.0, 9.0, 9.0])
    trainer = make_trainer([Work(clock, 1.0, 0.0), Throughput(warm_up=0, window=2)], batches=data, epochs=1)
    seen = []
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda e: seen.append(dict(e.state.throughput)))
    trainer.run()
    assert seen[1]["pairs_per_s"] == pytest.approx(8 / 4)
    assert seen[1]["seconds_left"] == pytest.approx(2 * 2)
    assert trainer.state.throughput["pairs_per_s"] == pytest.approx(8 / 20)
    assert trainer.state.throughput["pairs_per_s_mean"] == pytest.approx(16 / 24)


def test_during_warm_up_there_are_no_figures() -> None:
    trainer = make_trainer([Throughput(warm_up=10)])
    trainer.run()
    assert trainer.state.throughput == {}


def test_a_decollated_batch_counts_its_items(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    handlers = [Work(clock, 2.0, 0.0), Throughput(warm_up=0)]
    trainer = make_trainer(handlers, epochs=1, decollate=True)
    trainer.run()
    assert trainer.state.throughput["pairs_per_s"] == pytest.approx(2)


def test_peak_memory_of_a_process_is_read_in_kibibytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(resource, "getrusage", lambda _: SimpleNamespace(ru_maxrss=3 * 2**20))
    assert peak_memory_gib(torch.device("cpu")) == 3


def test_peak_memory_of_a_gpu_is_what_torch_allocated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: {0: 2**31, 1: 2**30}[device.index])
    assert peak_memory_gib(torch.device("cuda", 1)) == 1


def test_peak_memory_here_is_plausible() -> None:
    assert 0.05 < peak_memory_gib(None) < 500
