from __future__ import annotations

from pathlib import Path

from ignite.engine import Engine, Events
from toy_training import make_trainer

from bundle.handlers.json_lines import JsonLines, read_json_lines


class Counting:
    """A handler that writes every iteration."""

    def __init__(self, path: Path, run: str) -> None:
        self.lines, self.run = JsonLines(path), run

    def attach(self, engine: Engine) -> None:
        self.lines.attach(engine)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.write)

    def write(self, engine: Engine) -> None:
        self.lines.append([{"iteration": engine.state.iteration, "run": self.run}])


class ContinueFrom:
    """Loads a position when the run starts, as a resume handler does, after all others."""

    def __init__(self, iteration: int) -> None:
        self.iteration = iteration

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.STARTED, self.load)

    def load(self, engine: Engine) -> None:
        engine.state.iteration, engine.state.epoch = self.iteration, self.iteration // 2


def test_a_resumed_run_drops_what_lies_beyond_its_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "record.jsonl"
    make_trainer([Counting(path, "first")], epochs=3).run()
    make_trainer([Counting(path, "second"), ContinueFrom(4)], epochs=3).run()
    records = [(record["iteration"], record["run"]) for record in read_json_lines(path)]
    assert records == [(1, "first"), (2, "first"), (3, "first"), (4, "first"), (5, "second"), (6, "second")]


def test_a_fresh_run_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "record.jsonl"
    for run in ("first", "second"):
        make_trainer([Counting(path, run)], epochs=1).run()
    assert [record["run"] for record in read_json_lines(path)] == ["second", "second"]


def test_a_line_torn_by_a_kill_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "record.jsonl"
    path.write_text('{"iteration": 1, "run": "first"}\n{"iteration": 2, "ru')
    assert [record["iteration"] for record in read_json_lines(path)] == [1]
    make_trainer([Counting(path, "second"), ContinueFrom(2)], epochs=2).run()
    assert [record["iteration"] for record in read_json_lines(path)] == [1, 3, 4]
    assert path.read_text().count("\n") == 3


def test_numbers_keep_every_bit(tmp_path: Path) -> None:
    lines = JsonLines(tmp_path / "record.jsonl")
    values = [0.1 + 0.2, 1e-45, 3.4028234663852886e38]
    lines.append([{"iteration": 1, "values": values}])
    assert read_json_lines(lines.path)[0]["values"] == values


def test_no_file_holds_no_records(tmp_path: Path) -> None:
    assert read_json_lines(tmp_path / "none.jsonl") == []
