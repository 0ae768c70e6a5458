"""Where runs go side by side."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from scripts.sweeping.errors import SweepError
from scripts.sweeping.lock import locked
from scripts.sweeping.slots import default_parallel, slots, visible_gpus


@pytest.mark.parametrize(("parallel", "cores", "threads"), [(1, 8, "8"), (3, 8, "2"), (4, 2, "1")])
def test_cores_are_shared_out_and_never_none(parallel: int, cores: int, threads: str) -> None:
    assert slots(parallel, [], cores) == [{"OMP_NUM_THREADS": threads}] * parallel


def test_gpus_are_taken_in_turn() -> None:
    assert [slot["CUDA_VISIBLE_DEVICES"] for slot in slots(5, ["0", "3"], 16)] == ["0", "3", "0", "3", "0"]
    assert default_parallel(["0", "3"], 16) == 2
    assert default_parallel([], 2) == 2
    assert default_parallel([], 64) == 4


def test_gpus_are_those_that_this_process_may_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert visible_gpus() == []  # no driver
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\nprintf '0\\n1\\n2\\n'\n")
    tool.chmod(0o755)
    assert visible_gpus() == ["1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert visible_gpus() == []
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert visible_gpus() == ["0", "1", "2"]


def test_what_a_killed_sweep_left_running_is_waited_for(tmp_path: Path) -> None:
    said: list[str] = []
    with locked(tmp_path, said.append) as lock:
        kept = os.dup(lock)  # as a run that the sweep has started keeps it
    try:
        (tmp_path / ".lock").write_text(f"{2**22 + 1}\n")  # no such process: numbers end at 2^22
        with (
            pytest.raises(SweepError, match="runs of a killed sweep are still at work"),
            locked(tmp_path, said.append, 0.3),
        ):
            pass
    finally:
        os.close(kept)
    assert said == ["waiting for runs of a killed sweep to save and end"]
    with locked(tmp_path, said.append):
        pass
    assert len(said) == 1
