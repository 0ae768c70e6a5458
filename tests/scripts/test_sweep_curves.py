"""How variants learned: what is read of their runs, and what is drawn."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import pandas as pd
import pytest
import torch
from ignite.engine import Engine
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from sweep_parts import SWEEP, write_sweep

from bundle.handlers.loss_record import LossRecord
from scripts.sweeping.curves import courses_of, draw_courses
from scripts.sweeping.errors import SweepError
from scripts.sweeping.jobs import Cell, Job, cells_of
from scripts.sweeping.records import note_end
from scripts.sweeping.sweep_file import Sweep, read_sweep

CONFIGS = Path(__file__).resolve().parent.parent.parent / "configs"


def made(folder: Path, **keys: Any) -> tuple[Sweep, dict[str, Cell]]:
    sweep = read_sweep(write_sweep(folder, copy.deepcopy(SWEEP) | keys), CONFIGS)
    return sweep, {cell.name: cell for cell in cells_of(sweep, folder / "out")}


def train(job: Job, terms: dict[str, Sequence[float | None]], first: int = 1) -> None:
    """Leave what a training leaves, its losses written by the bundle's own handler; a term may be absent at a step."""
    rows = (dict(zip(terms, row, strict=True)) for row in zip(*terms.values(), strict=True))
    steps = [{name: value for name, value in row.items() if value is not None} for row in rows]

    def step(engine: Engine, values: dict[str, float]) -> dict[str, torch.Tensor]:
        engine.loss_function.last = {name: torch.tensor(value) for name, value in values.items() if name != "loss"}
        return {"loss": torch.tensor(sum(values.values())), "gradient_norm": torch.tensor(9.0)}

    engine = Engine(step)
    engine.loss_function = SimpleNamespace(last={})
    engine.state.device = torch.device("cpu")
    LossRecord(job.folder / "losses.jsonl", every=7).attach(engine)
    length = first - 1 + len(steps)
    engine.load_state_dict({"iteration": first - 1, "epoch_length": length, "max_epochs": 1})
    engine.run(steps, max_epochs=1, epoch_length=length)
    finish(job)


def finish(job: Job) -> None:
    job.folder.mkdir(parents=True, exist_ok=True)
    job.product.write_text("{}")
    note_end(job, True, 60.0, 30.0, 0)


def values(series: pd.Series) -> dict[int, float]:
    return {int(step): round(float(value), 6) for step, value in series.items()}


def test_each_term_of_trainings_that_are_done_is_followed(tmp_path: Path) -> None:
    _, cells = made(tmp_path)
    for name, shift in {"plain/seed_0": 0.0, "plain/seed_1": 1.0}.items():
        contrastive, masks = [3.0 + shift, 2.0, 1.0], [None, None, 0.5 + shift]
        train(cells[name].jobs["pretrain"], {"contrastive": contrastive, "pseudo_segmentation": masks})
        finish(cells[name].jobs["probe"])  # an evaluation, which records no losses
    torn = cells["more/seed_0"].jobs["pretrain"]
    torn.folder.mkdir(parents=True)
    (torn.folder / "losses.jsonl").write_text('{"iteration": 1, "loss": 4.0, "contrastive": 4.0}\n{"iterat')
    courses = courses_of(list(cells.values()))
    assert {title: list(of_variants) for title, of_variants in courses.items()} == {
        "pretrain: contrastive": ["plain"],
        "pretrain: pseudo_segmentation": ["plain"],
    }
    first, second = courses["pretrain: contrastive"]["plain"]
    assert (values(first), values(second)) == ({1: 3.0, 2: 2.0, 3: 1.0}, {1: 4.0, 2: 2.0, 3: 1.0})
    assert [values(course) for course in courses["pretrain: pseudo_segmentation"]["plain"]] == [{3: 0.5}, {3: 1.5}]


def test_a_spoilt_record_is_named(tmp_path: Path) -> None:
    _, cells = made(tmp_path)
    job = cells["more/seed_0"].jobs["pretrain"]
    train(job, {"contrastive": [1.0]})
    with (job.folder / "losses.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"iteration": 2, ')
    with pytest.raises(SweepError, match=r"losses\.jsonl: not readable .* remove it"):
        courses_of(list(cells.values()))


def test_what_all_variants_share_tells_nothing_of_them(tmp_path: Path) -> None:
    steps = copy.deepcopy(SWEEP["steps"])
    steps["probe"]["run"] = "training"
    _, cells = made(tmp_path, steps=steps, variants={"plain": None, "more": {"probe": {"overrides": {"value": 1}}}})
    for cell in cells.values():
        train(cell.jobs["pretrain"], {"contrastive": [2.0, 1.0]})
        train(cell.jobs["probe"], {"loss": [2.0, cell.jobs["probe"].made_from["overrides"]["value"]]})
    courses = courses_of(list(cells.values()))
    assert list(courses) == ["probe: loss"]
    assert {name: [values(one) for one in of] for name, of in courses["probe: loss"].items()} == {
        "plain": [{1: 2.0, 2: 10.0}] * 2,
        "more": [{1: 2.0, 2: 1.0}] * 2,
    }


def continuing(folder: Path, variant: dict[str, Any]) -> dict[str, Cell]:
    """Cells whose pre-training counts on the steps of an alignment, in the baseline at least."""
    align = {"run": "training", "configs": ["tiny.yaml"], "overrides": {"seed": "{seed}"}}
    pretrain = {**align, "overrides": {"seed": "{seed}", "continues": "{align}"}}
    steps = {"align": align, "pretrain": pretrain}
    measures = {"pre": "pretrain.score"}
    _, cells = made(folder, steps=steps, measures=measures, seeds=[0], variants={"plain": None, "other": variant})
    for cell in cells.values():
        if "align" in cell.jobs:
            train(cell.jobs["align"], {"contrastive": [5.0, 4.0, 3.0]})
            train(cell.jobs["pretrain"], {"contrastive": [2.0, 1.0]}, first=4)
        else:
            train(cell.jobs["pretrain"], {"contrastive": [6.0, 5.0, 4.0, 3.0, 2.0]})
    return cells


def test_a_training_that_goes_on_from_another_is_followed_from_its_beginning(tmp_path: Path) -> None:
    cells = continuing(tmp_path, {"pretrain": {"overrides": {"continues": None}}})
    courses = courses_of(list(cells.values()))
    assert list(courses) == ["pretrain: contrastive"]
    assert values(courses["pretrain: contrastive"]["plain"][0]) == {1: 5.0, 2: 4.0, 3: 3.0, 4: 2.0, 5: 1.0}
    assert values(courses["pretrain: contrastive"]["other"][0]) == {1: 6.0, 2: 5.0, 3: 4.0, 4: 3.0, 5: 2.0}


def test_and_from_its_own_where_all_variants_share_the_other(tmp_path: Path) -> None:
    cells = continuing(tmp_path, {"pretrain": {"overrides": {"value": 2.0}}})
    courses = courses_of(list(cells.values()))
    assert list(courses) == ["pretrain: contrastive"]
    assert {name: values(one) for name, (one,) in courses["pretrain: contrastive"].items()} == {
        "plain": {4: 2.0, 5: 1.0},
        "other": {4: 2.0, 5: 1.0},
    }


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """All figures that are saved."""
    seen: list[Figure] = []
    save = Figure.savefig

    def look(self: Figure, *args: Any, **kwargs: Any) -> None:
        seen.append(self)
        save(self, *args, **kwargs)

    monkeypatch.setattr(Figure, "savefig", look)
    return seen


def test_a_line_is_the_mean_of_the_seeds_in_a_band_of_all(tmp_path: Path, figures: list[Figure]) -> None:
    sweep, _ = made(tmp_path, variants={"plain": None, "idle": None, "more": None})
    steps = pd.RangeIndex(1, 41)
    low, high = pd.Series(range(1, 41), steps, float), pd.Series(range(3, 43), steps, float)
    short = high.iloc[:30]  # of a seed that ended early
    draw_courses(sweep, {"pretrain: contrastive": {"plain": [low, high], "more": [low, short]}}, tmp_path / "c.png")
    (figure,) = figures
    (axis,) = figure.axes
    plain, more = axis.lines
    # Of 40 steps a point is the mean of two, and of the first one alone at the beginning; of 30 steps the mean of one.
    assert list(plain.get_xdata()) == list(steps)
    assert list(plain.get_ydata()) == pytest.approx([2.0] + [step + 0.5 for step in range(2, 41)])
    assert list(more.get_xdata()) == list(range(1, 31))
    assert list(more.get_ydata())[:2] == pytest.approx([2.0, (1.5 + 4.0) / 2])
    band = next(found for found in axis.collections if isinstance(found, PolyCollection)).get_paths()[0].vertices
    assert {height for step, height in band.tolist() if step == 10} == {9.5, 11.5}
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["plain", "more"]  # idle has no run yet
    assert (plain.get_color(), more.get_color()) == ("C0", "C2")
    assert (axis.get_title(), axis.get_yscale()) == ("pretrain: contrastive", "linear")
    assert cv2.imread(str(tmp_path / "c.png")).std() > 5


def test_losses_of_other_scales_share_a_panel(tmp_path: Path, figures: list[Figure]) -> None:
    sweep, _ = made(tmp_path)
    masks, pixels = pd.Series([0.75, 0.25], [1, 2]), pd.Series([10.0, 0.5], [1, 2])
    panels = {
        "a": {"plain": [masks], "more": [pixels]},
        "b": {"plain": [masks], "more": [pixels - 0.5]},
        "c": {"plain": [masks], "more": [masks]},
    }
    draw_courses(sweep, panels, tmp_path / "c.png")
    assert [axis.get_yscale() for axis in figures[0].axes] == [
        "log",
        "linear",
        "linear",
    ]  # a loss of 0 has no logarithm


def test_twelve_panels_are_drawn_and_more_are_told(tmp_path: Path, figures: list[Figure]) -> None:
    sweep, _ = made(tmp_path)
    panels = {f"step: term_{number}": {"plain": [pd.Series([2.0, 1.0], [1, 2])]} for number in range(14)}
    draw_courses(sweep, panels, tmp_path / "c.png")
    draw_courses(sweep, dict(list(panels.items())[:4]), tmp_path / "c.png")
    assert [axis.get_title() for axis in figures[0].axes] == list(panels)[:12]
    assert [figure.get_suptitle().partition("\n")[0] for figure in figures] == [
        "moments: losses of training, smoothed, 12 of 14",
        "moments: losses of training, smoothed",
    ]
    assert [axis.get_visible() for axis in figures[1].axes] == [True] * 4 + [False] * 2
