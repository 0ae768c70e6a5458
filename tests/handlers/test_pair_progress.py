from __future__ import annotations

import logging
import re

import pytest
from ignite.engine import Engine

from bundle.handlers import pair_progress
from bundle.handlers.pair_progress import PairProgress


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Its own lines, whatever else logs."""
    return [record.message for record in caplog.records if record.name == "bundle.handlers.pair_progress"]


def test_log_tells_pairs_speed_and_time_left(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """A batch of images takes ten seconds; four of them are 4,000,000 pairs."""
    now = [100.0]
    monkeypatch.setattr(pair_progress.time, "monotonic", lambda: now[0])

    def step(engine: Engine, batch: int) -> None:
        now[0] += 10

    engine = Engine(step)
    PairProgress(4_000_000, every=15).attach(engine)  # type: ignore[arg-type]
    with caplog.at_level(logging.INFO, logger="bundle.handlers.pair_progress"):
        engine.run(range(4))
    assert [re.sub(" +", " ", line) for line in said(caplog)] == [
        "2,000,000 of 4,000,000 pairs 100000 pairs/s left 0:00:20",
        "4,000,000 of 4,000,000 pairs 100000 pairs/s left 0:00:00",
    ]


def test_a_second_run_starts_anew(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    monkeypatch.setattr(pair_progress.time, "monotonic", lambda: now[0])

    def step(engine: Engine, batch: int) -> None:
        now[0] += 2

    engine = Engine(step)
    PairProgress(100, every=60).attach(engine)  # type: ignore[arg-type]
    with caplog.at_level(logging.INFO, logger="bundle.handlers.pair_progress"):
        engine.run(range(1))
        now[0] += 1000
        engine.run(range(1))
    first, second = said(caplog)
    assert first == second
    assert "50 pairs/s" in first
