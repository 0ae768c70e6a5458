"""Means, differences and intervals of a sweep, by hand; and how they are shown."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path

import cv2
import pytest
from scipy import stats
from sweep_parts import SWEEP, write_sweep

from scripts.sweeping.errors import SweepError
from scripts.sweeping.figures import Figures, compare, gather
from scripts.sweeping.jobs import Cell, Job, cells_of
from scripts.sweeping.plot import draw
from scripts.sweeping.records import note_end
from scripts.sweeping.sweep_file import Sweep, read_sweep
from scripts.sweeping.tables import csv_table, markdown_table

CONFIGS = Path(__file__).resolve().parent.parent.parent / "configs"


@pytest.fixture
def made(tmp_path: Path) -> tuple[Sweep, list[Cell]]:
    sweep = read_sweep(write_sweep(tmp_path, SWEEP | {"seeds": [0, 1, 2]}), CONFIGS)
    return sweep, cells_of(sweep, tmp_path / "out")


def test_differences_are_paired_by_seed() -> None:
    # .1, .2, .3: mean .2, deviation .1, t(2 degrees, .975) = 4.303; half .2484.
    difference = compare({0: 0.6, 1: 0.9, 2: 0.7, 9: 5.0}, {0: 0.5, 1: 0.7, 2: 0.4})
    assert difference is not None
    assert difference.mean == pytest.approx(0.2)
    assert difference.low == pytest.approx(0.2 - 4.302653 * 0.1 / math.sqrt(3), abs=1e-6)
    assert difference.high == pytest.approx(0.4484138, abs=1e-6)
    assert difference.seeds == 3
    assert not difference.is_sure
    close = compare({0: 0.6, 1: 0.61, 2: 0.62, 3: 0.6}, {0: 0.5, 1: 0.5, 2: 0.5, 3: 0.5})
    low, high = stats.t.interval(0.95, 3, loc=0.1075, scale=stats.sem([0.1, 0.11, 0.12, 0.1]))
    assert close is not None
    assert (close.low, close.high) == (pytest.approx(low), pytest.approx(high))
    assert close.is_sure


def test_one_seed_has_no_interval_and_none_no_difference() -> None:
    single = compare({3: 0.5}, {3: 0.25, 4: 1.0})
    assert single is not None
    assert (single.mean, single.low, single.high, single.seeds) == (0.25, None, None, 1)
    assert not single.is_sure
    assert compare({0: 1.0}, {1: 1.0}) is None


def test_the_table_says_what_was_measured_and_how_sure_it_is(made: tuple[Sweep, list[Cell]]) -> None:
    sweep, cells = made
    values = {
        "plain": {"pre": {0: 0.5, 1: 0.7, 2: 0.4}, "probe": {0: 0.5, 1: 0.5, 2: 0.5}},
        "more": {"pre": {0: 0.6, 1: 0.9}, "probe": {0: 0.6, 1: 0.61, 2: 0.62}},
    }
    text = markdown_table(sweep, Figures(values, {"plain": 3, "more": 2}), cells)
    assert "| plain | 3 of 3 | 0.533 ± 0.153 | 0.500 ± 0.000 |" in text
    assert "| more | 2 of 3 | 0.750 ± 0.212 (2) | 0.610 ± 0.010 |" in text
    # .1 and .2: mean .15, deviation .0707, t(1) = 12.706; half .635. And .11 -+ 4.303 x .01 / root of 3.
    assert "| more | +0.150 [-0.485, +0.785] | **+0.110 [+0.085, +0.135]** |" in text
    rows = list(csv.DictReader(io.StringIO(csv_table(sweep, Figures(values, {"plain": 3, "more": 2})))))
    (row,) = [row for row in rows if row["variant"] == "more" and row["measure"] == "pre"]
    assert (row["pairs"], row["seed_0"], row["seed_1"], row["seed_2"]) == ("2", "0.6", "0.9", "")
    assert float(row["difference"]) == pytest.approx(0.15)
    (row,) = [row for row in rows if row["variant"] == "plain" and row["measure"] == "pre"]
    assert (row["difference"], row["pairs"]) == ("", "")


def finish(cell: Cell, value: float | None, metric: str = "score") -> None:
    for job in cell.jobs.values():
        finish_job(job, value, metric)


def finish_job(job: Job, value: float | None, metric: str = "score") -> None:
    job.folder.mkdir(parents=True, exist_ok=True)
    job.product.write_text(json.dumps({"metrics": {metric: {"value": value}}}))
    note_end(job, True, 60.0, 30.0, 0)


def test_only_what_is_done_is_gathered(made: tuple[Sweep, list[Cell]]) -> None:
    sweep, cells = made
    finish(cells[0], 0.5)
    finish(cells[1], None)  # a figure that has no value, such as a ratio to 0
    job = cells[2].jobs["pretrain"]
    job.folder.mkdir(parents=True)
    job.product.write_text(
        json.dumps({"metrics": {"score": {"value": 7.0}}})
    )  # its run was cut off before it was noted
    figures = gather(sweep, cells)
    assert figures.values == {"plain": {"pre": {0: 0.5}, "probe": {0: 0.5}}, "more": {"pre": {}, "probe": {}}}
    assert figures.cells == {"plain": 1, "more": 1}
    text = markdown_table(sweep, figures, cells)
    assert "5 of 13 steps are done; they took 3 CPU minutes, 6 minutes if one had followed the other." in text


def test_a_difference_has_a_value_where_both_have_one(tmp_path: Path) -> None:
    measures = {"gain": "probe.score - pretrain.score", "loss": "pretrain.score - probe.score"}
    sweep = read_sweep(write_sweep(tmp_path, SWEEP | {"seeds": [0, 1, 2, 3], "measures": measures}), CONFIGS)
    found = {0: (0.25, 0.75), 1: (0.5, None), 2: (None, 0.5)}  # of seed 3 only the pre-training is done
    for cell in cells_of(sweep, tmp_path / "out"):
        if cell.variant == "plain":
            for step, value in zip(("pretrain", "probe"), found.get(cell.seed, (0.5,)), strict=False):
                finish_job(cell.jobs[step], value)
    figures = gather(sweep, cells_of(sweep, tmp_path / "out"))
    assert figures.values["plain"] == {"gain": {0: 0.5}, "loss": {0: -0.5}}
    assert figures.values["more"] == {"gain": {}, "loss": {}}


def test_a_metric_that_only_the_second_place_lacks_is_told(tmp_path: Path) -> None:
    measures = {"gain": "probe.score - pretrain.scope"}
    sweep = read_sweep(write_sweep(tmp_path, SWEEP | {"measures": measures}), CONFIGS)
    cells = cells_of(sweep, tmp_path / "out")
    finish_job(cells[0].jobs["pretrain"], 0.5)  # the first place is not done yet
    with pytest.raises(
        SweepError, match=r"measure 'gain': .*pretrain.*results\.json has no metric 'scope'; it has score"
    ):
        gather(sweep, cells)


def test_a_metric_that_no_run_has_is_told(made: tuple[Sweep, list[Cell]]) -> None:
    sweep, cells = made
    finish(cells[0], 0.5, metric="scope")
    with pytest.raises(SweepError, match=r"measure 'pre': .*results\.json has no metric 'score'; it has scope"):
        gather(sweep, cells)


def test_the_picture_has_a_panel_a_measure(made: tuple[Sweep, list[Cell]], tmp_path: Path) -> None:
    sweep, _ = made
    values = {"plain": {"pre": {0: 0.5, 2: 0.4}, "probe": {}}, "more": {"pre": {0: 0.6}, "probe": {}}}
    draw(sweep, Figures(values, {"plain": 1, "more": 0}), tmp_path / "figures.png")
    picture = cv2.imread(str(tmp_path / "figures.png"))
    assert picture.shape[1] > picture.shape[0]
    left, right = picture[:, : picture.shape[1] // 2], picture[:, picture.shape[1] // 2 :]
    assert left.std() > right.std() > 1  # only the left panel has points
