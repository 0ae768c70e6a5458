"""The command `sweep`, over runs that take moments (`sweep_parts`)."""

from __future__ import annotations

import copy
import csv
import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import cv2
import pytest
from sweep_parts import SWEEP, begin, scores, sweep, write_sweep

EXPECTED = {"plain/seed_0": 11.0, "plain/seed_1": 11.1, "more/seed_0": 11.5, "more/seed_1": 11.6}


def changed(**overrides: Any) -> dict[str, Any]:
    """The sweep with other overrides of its pre-training."""
    content = copy.deepcopy(SWEEP)
    content["steps"]["pretrain"]["overrides"].update(overrides)
    return content


def taken(out: Path, step: str = "pretrain") -> dict[str, list[int]]:
    """The steps that each run has counted, by its folder."""
    files = (out / "steps" / step).glob("*/steps.txt")
    return {path.parent.name: list(map(int, path.read_text().split())) for path in files}


def wait_for(path: Path, lines: int = 1) -> None:
    deadline = time.monotonic() + 60
    while not (path.exists() and len(path.read_text().splitlines()) >= lines):
        assert time.monotonic() < deadline, f"{path} did not come"
        time.sleep(0.02)


def is_alive(process: int) -> bool:
    status = Path(f"/proc/{process}/stat")
    return status.exists() and status.read_text().rsplit(")", 1)[1].split()[0] != "Z"


def children(process: int) -> list[int]:
    return list(map(int, Path(f"/proc/{process}/task/{process}/children").read_text().split()))


def test_all_cells_run_once_and_figures_are_written(tmp_path: Path) -> None:
    path, out = write_sweep(tmp_path, SWEEP), tmp_path / "out"
    code, printed = sweep(path, out, "--parallel", "2")
    assert code == 0, printed
    assert "9 of 9 steps of 4 cells are to be done, 2 side by side" in printed  # one folder of data for all
    assert scores(out) == pytest.approx(EXPECTED)
    assert list(taken(out).values()) == [[1, 2, 3]] * 4
    assert "| more | +0.500 [+0.500, +0.500] |" in printed.replace("**", "")
    assert (out / "moments" / "table.md").read_text() in printed
    with open(out / "moments" / "table.csv", newline="") as file:
        rows = {(row["variant"], row["measure"]): row for row in csv.DictReader(file)}
    assert float(rows["more", "probe"]["mean"]) == pytest.approx(11.55)
    assert float(rows["more", "probe"]["seed_1"]) == pytest.approx(11.6)
    for picture in ("figures.png", "curves.png"):
        assert cv2.imread(str(out / "moments" / picture)).std() > 5
    assert printed.endswith(f"In {out / 'moments'}: table.md, table.csv, figures.png, curves.png\n")
    code, printed = sweep(path, out)
    assert code == 0
    assert "0 of 9 steps" in printed
    assert list(taken(out).values()) == [[1, 2, 3]] * 4


def test_sweeps_share_equal_steps(tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = write_sweep(tmp_path, SWEEP)
    assert sweep(first, out)[0] == 0
    other = copy.deepcopy(SWEEP)
    other["variants"] = {"plain": None, "most": {"pretrain": {"overrides": {"value": 3.0}}}}
    other["seeds"] = [1, 2]
    code, printed = sweep(write_sweep(tmp_path, other, "others"), out)
    assert code == 0
    assert "6 of 9 steps" in printed  # plain with seed 1 is there, and the data
    assert scores(out, "others")["plain/seed_1"] == pytest.approx(11.1)


def test_a_failed_cell_does_not_keep_the_others_from_going_on(tmp_path: Path) -> None:
    content = copy.deepcopy(SWEEP)
    content["variants"]["broken"] = {"pretrain": {"overrides": {"fail": True}}}
    out = tmp_path / "out"
    code, printed = sweep(write_sweep(tmp_path, content), out, "--parallel", "3")
    assert code == 1
    assert scores(out) == pytest.approx(EXPECTED)
    failed = [line for line in printed.splitlines() if line.startswith("FAILED (1): moments: broken/seed_0: pretrain")]
    assert len(failed) == 1
    assert "error: nothing to learn here" in failed[0]
    log = Path(failed[0].split("its log is ")[1])
    assert log.read_text().strip() == "error: nothing to learn here"
    assert "2 steps that need those were not begun" in printed
    assert "| broken | 0 of 2 |  |  |" in printed
    code, printed = sweep(write_sweep(tmp_path, content), out)  # only what failed is tried again
    assert code == 1
    assert "4 of 13 steps" in printed


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_lets_runs_save_and_the_same_command_goes_on(tmp_path: Path, number: signal.Signals) -> None:
    path, out = write_sweep(tmp_path, changed(steps=40, pause=0.1)), tmp_path / "out"
    process = begin(path, out, "--parallel", "2", "--only", "*/seed_0")
    while len(taken(out)) < 2 or min(map(len, taken(out).values())) < 3:
        time.sleep(0.05)
        assert process.poll() is None
    started = children(process.pid)
    process.send_signal(number)
    printed, _ = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "stopping: 2 runs save and end" in printed
    assert "interrupted: the same command goes on where it was" in printed
    assert "FAILED" not in printed
    assert len(started) == 2
    assert not any(map(is_alive, started))
    before = taken(out)
    assert all(max(steps) < 40 for steps in before.values())
    code, printed = sweep(path, out, "--parallel", "2", "--only", "*/seed_0")
    assert code == 0
    for folder, steps in taken(out).items():
        assert steps == list(range(1, 41)), folder
    assert scores(out) == pytest.approx({name: EXPECTED[name] for name in ("plain/seed_0", "more/seed_0")})


@pytest.mark.slow
def test_killed_again_and_again_no_cell_is_lost_repeated_or_mixed_up(tmp_path: Path) -> None:
    path, out = write_sweep(tmp_path, changed(steps=30, pause=0.03)), tmp_path / "out"
    for moment in (0.1, 0.9, 1.7, 2.5, 3.3):
        process = begin(path, out, "--parallel", "2")
        time.sleep(1.0 + moment)  # importing takes some of it
        process.kill()
        process.communicate()
    code, printed = sweep(path, out, "--parallel", "2")
    assert code == 0, printed
    assert scores(out) == pytest.approx(EXPECTED)
    for folder, steps in taken(out).items():
        assert steps == list(range(1, 31)), folder
    assert not list(out.rglob("CLASH"))
    assert len(list((out / "steps" / "pretrain").glob("*.json"))) == 4


def test_runs_of_a_killed_sweep_end_by_themselves(tmp_path: Path) -> None:
    path, out = write_sweep(tmp_path, changed(steps=600, pause=0.1)), tmp_path / "out"
    process = begin(path, out, "--parallel", "2")
    while len(taken(out)) < 2:
        time.sleep(0.05)
        assert process.poll() is None
    started = children(process.pid)
    assert len(started) == 2
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 10
    while any(map(is_alive, started)):
        assert time.monotonic() < deadline, "a run outlived its sweep"
        time.sleep(0.05)


def test_two_sweeps_do_not_work_in_one_folder(tmp_path: Path) -> None:
    path, out = write_sweep(tmp_path, changed(steps=600, pause=0.1)), tmp_path / "out"
    first = begin(path, out)
    while not taken(out):
        time.sleep(0.05)
        assert first.poll() is None
    code, printed = sweep(path, out)
    first.terminate()
    first.communicate(timeout=30)
    assert code == 2
    assert printed == (
        f"error: {out}: another sweep (process {first.pid}) is at work there: wait for it, or give another --out\n"
    )
    assert not list(out.rglob("CLASH"))


def test_a_changed_sweep_is_told_and_never_mixed_with_old_cells(tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert sweep(write_sweep(tmp_path, changed(steps=3)), out)[0] == 0
    path = write_sweep(tmp_path, changed(steps=4))
    code, printed = sweep(path, out)
    assert code == 2
    assert printed.count("\n") == 1
    assert "cell plain/seed_0 was begun otherwise (step 'pretrain': steps was 3, is 4), and so 3 more" in printed
    code, printed = sweep(path, out, "--table")  # old figures are not shown as if they were of this file
    assert code == 0
    assert "| plain | 0 of 2 |  |  |" in printed
    assert not (out / "moments" / "curves.png").exists()
    path = write_sweep(tmp_path, changed(steps=3))
    (tmp_path / "tiny.yaml").write_text("# a comment changes nothing\n" + (tmp_path / "tiny.yaml").read_text())
    assert "0 of 9 steps" in sweep(path, out)[1]
    (tmp_path / "tiny.yaml").write_text((tmp_path / "tiny.yaml").read_text() + "further: 1\n")
    code, printed = sweep(path, out)
    assert code == 2
    assert "config tiny.yaml says something else" in printed


def test_more_seeds_and_variants_are_no_change(tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert sweep(write_sweep(tmp_path, SWEEP), out)[0] == 0
    more = copy.deepcopy(SWEEP)
    more["seeds"] = [0, 1, 2]
    more["variants"]["least"] = {"pretrain": {"overrides": {"value": 0.0}}}
    code, printed = sweep(write_sweep(tmp_path, more), out)
    assert code == 0
    assert "10 of 19 steps of 9 cells" in printed


def measuring(*titles: str, **overrides: Any) -> dict[str, Any]:
    """The sweep with some of its measures, and other overrides of its probe."""
    content = copy.deepcopy(SWEEP)
    content["measures"] = {title: content["measures"][title] for title in titles}
    content["steps"]["probe"]["overrides"].update(overrides)
    return content


def test_measures_come_and_go_with_their_steps_and_cells_stay(tmp_path: Path) -> None:
    out = tmp_path / "out"
    code, printed = sweep(write_sweep(tmp_path, measuring("pre")), out)
    assert code == 0, printed
    assert "5 of 5 steps of 4 cells" in printed
    assert "| plain | 2 of 2 | 1.050 ± 0.071 |" in printed
    assert not (out / "steps" / "probe").exists()
    first = sorted(path.name for path in (out / "steps" / "pretrain").iterdir())
    path = write_sweep(tmp_path, measuring("pre", "probe"))
    assert "| plain | 0 of 2 | 1.050 ± 0.071 |  |" in sweep(path, out, "--table")[1]
    code, printed = sweep(path, out)
    assert code == 0, printed
    assert "4 of 9 steps of 4 cells" in printed
    assert scores(out) == pytest.approx(EXPECTED)
    assert sorted(path.name for path in (out / "steps" / "pretrain").iterdir()) == first
    # A step that nothing asks for may change; what was begun with it is remembered.
    code, printed = sweep(write_sweep(tmp_path, measuring("pre", value=20.0)), out)
    assert code == 0, printed
    assert "0 of 5 steps" in printed
    assert "| plain | 2 of 2 | 1.050 ± 0.071 |" in printed
    assert scores(out) == pytest.approx(EXPECTED)  # by their links
    code, printed = sweep(write_sweep(tmp_path, measuring("pre", "probe", value=20.0)), out)
    assert code == 2
    assert "cell plain/seed_0 was begun otherwise (step 'probe': value was 10.0, is 20.0), and so 3 more" in printed
    assert "0 of 9 steps" in sweep(write_sweep(tmp_path, measuring("pre", "probe")), out)[1]


def test_a_measure_may_be_a_difference(tmp_path: Path) -> None:
    content = measuring("pre") | {"baseline": "more"}
    content["measures"]["gain"] = "probe.score - pretrain.score"
    content["variants"]["more"]["probe"] = {"overrides": {"value": 12.0}}
    out = tmp_path / "out"
    code, printed = sweep(write_sweep(tmp_path, content), out)
    assert code == 0, printed
    assert "| more | 2 of 2 | 1.550 ± 0.071 | 12.000 ± 0.000 |" in printed
    assert "| plain | **-0.500 [-0.500, -0.500]** | **-2.000 [-2.000, -2.000]** |" in printed


def test_dry_run_prints_commands_and_leaves_nothing(tmp_path: Path) -> None:
    path, out = write_sweep(tmp_path, SWEEP), tmp_path / "out"
    code, printed = sweep(path, out, "--dry-run", "--only", "more/seed_1")
    assert code == 0
    lines = [line for line in printed.splitlines() if line.startswith("python ")]
    assert len(lines) == 3
    assert lines[0].startswith(f"python -m made_data {out}/steps/numbers/")
    assert " run training " in lines[1]
    assert lines[1].endswith("--seed 1 --value 1.5")
    assert not out.exists()


def test_a_misspelt_override_is_told_before_anything_runs(tmp_path: Path) -> None:
    out = tmp_path / "out"
    code, printed = sweep(write_sweep(tmp_path, changed(vallue=2)), out)
    assert code == 2
    assert printed == ("error: moments: plain/seed_0: pretrain: its configs have no id 'vallue'; did you mean value?\n")
    assert not (out / "steps").exists()


def test_an_unknown_cell_is_told(tmp_path: Path) -> None:
    code, printed = sweep(write_sweep(tmp_path, SWEEP), tmp_path / "out", "--only", "plan/*")
    assert code == 2
    assert "--only plan/*: no cell is called so; there are plain/seed_0, more/seed_0" in printed


def test_cores_are_shared_out(tmp_path: Path) -> None:
    path, out = write_sweep(tmp_path, SWEEP), tmp_path / "out"
    assert sweep(path, out, "--parallel", "1", "--only", "plain/seed_0")[0] == 0
    results = json.loads((out / "moments" / "plain" / "seed_0" / "pretrain" / "results.json").read_text())
    assert int(results["threads"]) == len(os.sched_getaffinity(0))


def test_data_that_was_cut_off_is_made_anew(tmp_path: Path) -> None:
    path, out = write_sweep(tmp_path, SWEEP), tmp_path / "out"
    _, printed = sweep(path, out, "--dry-run")
    folder = Path(next(line for line in printed.splitlines() if "made_data" in line).split()[3])
    folder.mkdir(parents=True)
    (folder / "torn.txt").write_text("half of it")
    assert sweep(path, out)[0] == 0
    assert [file.name for file in folder.iterdir()] == ["data.txt"]
