"""Measures of a sweep: what they may say, which of a base are left out, and the steps that follow from them."""

from __future__ import annotations

import copy
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from sweep_parts import SWEEP, write_sweep

from scripts.sweeping.errors import SweepError
from scripts.sweeping.jobs import cells_of
from scripts.sweeping.measures import Measure, Place, read_measures
from scripts.sweeping.order import asked_for, in_order
from scripts.sweeping.sweep_file import Sweep, read_sweep

CONFIGS = Path(__file__).resolve().parent.parent.parent / "configs"


def laid_over(folder: Path, *files: dict[str, Any]) -> Sweep:
    """Files over `SWEEP`, each over the one before, as they are read."""
    path = write_sweep(folder, SWEEP, "file_0")
    for number, content in enumerate(files, start=1):
        content = {"base": path.name, **content}
        path = folder / f"file_{number}.yaml"
        path.write_text(yaml.safe_dump(content, sort_keys=False))
    return read_sweep(path, CONFIGS)


def jobs_by_cell(sweep: Sweep, out: Path) -> dict[str, dict[str, str]]:
    return {cell.name: {step: job.fingerprint for step, job in cell.jobs.items()} for cell in cells_of(sweep, out)}


def test_a_measure_is_a_place_or_the_difference_of_two() -> None:
    given = {"Dice": "labels.dice_pos", 3: "a.map_0.5", "gain": "labels.dice_pos - a.b-c"}
    assert read_measures(given, ["labels", "a"], "file") == {
        "Dice": Measure(Place("labels", "dice_pos")),
        "3": Measure(Place("a", "map_0.5")),
        "gain": Measure(Place("labels", "dice_pos"), Place("a", "b-c")),
    }


@pytest.mark.parametrize(
    "text",
    [
        *("labels", "labels.", "nowhere.dice", ".dice", "3", "labels.a b"),
        *("labels.a - ", " - labels.a", "labels.a - labels", "labels.a - nowhere.a", "labels.a - labels.b - labels.c"),
        *(
            "labels.a  - labels.b",
            "labels.a -labels.b",
            "labels.a -  labels.b",
            "labels.a + labels.b",
            "a.a - labels.a",
        ),
    ],
)
def test_what_is_no_measure_is_told(text: str) -> None:
    with pytest.raises(SweepError) as error:
        read_measures({"title": text}, ["labels"], "own.yaml")
    assert str(error.value) == (
        f"own.yaml: measure 'title' is '{text}', which must be STEP.METRIC with a step of the file, or two of them "
        "with ' - ' between"
    )


@given(st.text(st.sampled_from("ab.- \n"), max_size=12))
def test_a_measure_says_what_its_text_says_or_is_refused(text: str) -> None:
    try:
        measure = read_measures({"title": text}, ["a", "b"], "own.yaml")["title"]
    except SweepError:
        return
    assert " - ".join(f"{place.step}.{place.metric}" for place in measure.places) == text


def test_a_difference_needs_both_figures() -> None:
    gain = Measure(Place("decoder", "dice"), Place("encoder", "dice"))
    assert gain.value({gain.of: 0.75, gain.minus: 0.5}.get) == 0.25
    assert gain.value({gain.of: 0.75}.get) is None
    assert gain.value({gain.minus: 0.5}.get) is None
    assert Measure(gain.of).value({gain.of: 0.75}.get) == 0.75
    assert Measure(gain.of).value({}.get) is None


def test_measures_of_a_base_are_left_out_with_the_steps_that_only_they_ask_for(tmp_path: Path) -> None:
    whole = jobs_by_cell(read_sweep(write_sweep(tmp_path, SWEEP), CONFIGS), tmp_path)
    sweep = laid_over(tmp_path, {"measures": {"probe": None}})
    assert list(sweep.measures) == ["pre"]
    kept = jobs_by_cell(sweep, tmp_path)
    assert {tuple(jobs) for jobs in kept.values()} == {("numbers", "pretrain")}
    assert all(jobs.items() <= whole[cell].items() for cell, jobs in kept.items())
    # The probe asks for the pre-training, and this for the data.
    sweep = laid_over(tmp_path, {"measures": {"pre": None}})
    assert jobs_by_cell(sweep, tmp_path) == whole


def test_data_that_nothing_asks_for_is_not_made_and_both_places_of_a_difference_ask(tmp_path: Path) -> None:
    alone = {"run": "training", "configs": ["tiny.yaml"], "overrides": {"seed": "{seed}"}}
    more = {"steps": {"alone": alone}, "variants": {"more": {"pretrain": None, "alone": {"overrides": {"value": 1}}}}}
    sweep = laid_over(tmp_path, {**more, "measures": {"pre": None, "probe": None, "new": "alone.score"}})
    assert {tuple(jobs) for jobs in jobs_by_cell(sweep, tmp_path).values()} == {("alone",)}
    sweep = laid_over(tmp_path, {**more, "measures": {"pre": None, "probe": None, "new": "alone.score - probe.score"}})
    assert {tuple(jobs) for jobs in jobs_by_cell(sweep, tmp_path).values()} == {
        ("numbers", "pretrain", "probe", "alone")
    }


def test_steps_that_one_variant_does_without_are_no_jobs_of_its_cells(tmp_path: Path) -> None:
    content = copy.deepcopy(SWEEP)
    content["variants"]["fresh"] = {"probe": {"overrides": {"pretrained": None}}}
    content["measures"].pop("pre")
    cells = jobs_by_cell(read_sweep(write_sweep(tmp_path, content), CONFIGS), tmp_path)
    assert list(cells["fresh/seed_0"]) == ["probe"]
    assert list(cells["plain/seed_0"]) == ["numbers", "pretrain", "probe"]


def test_a_measure_that_was_left_out_can_be_had_again(tmp_path: Path) -> None:
    sweep = laid_over(tmp_path, {"measures": {"pre": None}}, {"measures": {"pre": "probe.score"}})
    assert sweep.measures["pre"] == Measure(Place("probe", "score"))


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        (
            [{"measures": {"prob": None}}],
            "measure 'prob' is null, but no base has one that it leaves out; there are pre",
        ),
        ([{"measures": {"pre": None}}, {"measures": {"pre": None}}], "file_2.yaml: measure 'pre' is null, but no base"),
        ([{"measures": {"pre": None, "probe": None}}], "measures must be given, in the file or in its base"),
        ([{"measures": None}], "measures must be given, in the file or in its base"),
        ([{"measures": ["pre"]}], "'measures' must be a mapping of names"),
        (
            [{"measures": {"probe": None}, "variants": {"more": {"probe": {"overrides": {"value": 1}}}}}],
            "variant 'more' changes step 'probe', which no measure asks for: add a measure that does, or take the "
            "change out (`probe: null` where it is the base's)",
        ),
    ],
)
def test_what_cannot_be_left_out_is_told_in_one_sentence(
    tmp_path: Path, files: list[dict[str, Any]], sentence: str
) -> None:
    with pytest.raises(SweepError) as error:
        laid_over(tmp_path, *files)
    assert sentence in str(error.value)
    assert str(tmp_path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_null_measure_needs_a_base(tmp_path: Path) -> None:
    path = write_sweep(tmp_path, SWEEP | {"measures": {"pre": "pretrain.score", "probe": None}})
    with pytest.raises(SweepError, match="measure 'probe' is null, but no base has one that it leaves out; remove it"):
        read_sweep(path, CONFIGS)


def test_a_change_of_a_base_that_nothing_asks_for_can_be_taken_out(tmp_path: Path) -> None:
    changed = {"variants": {"more": {"probe": {"overrides": {"value": 1}}}}}
    sweep = laid_over(tmp_path, changed, {"measures": {"probe": None}, "variants": {"more": {"probe": None}}})
    assert [step.name for step in sweep.variants["more"]] == ["numbers", "pretrain"]


graphs = st.dictionaries(st.sampled_from("abcdef"), st.sets(st.sampled_from("abcdefx"), max_size=3))


@given(graphs, st.sets(st.sampled_from("abcdef")))
def test_what_is_asked_for_is_closed_and_no_more_than_that(graph: dict[str, set[str]], roots: set[str]) -> None:
    roots &= graph.keys()
    found = asked_for(roots, graph)
    assert roots <= found <= graph.keys()
    assert all(graph[name] & graph.keys() <= found for name in found)
    # Whatever else one drops from it, something that asks for it remains.
    for name in found - roots:
        smaller = asked_for(roots, {other: names - {name} for other, names in graph.items()})
        assert name not in smaller


@given(graphs)
def test_each_name_stands_behind_those_it_refers_to_or_a_circle_is_named(graph: dict[str, set[str]]) -> None:
    try:
        order = in_order(graph, "a sweep")
    except SweepError as error:
        circle = str(error).removeprefix("a sweep: ").removesuffix(" refer to each other in a circle").split(" -> ")
        assert circle[-1] in circle[:-1]
        assert all(there in graph[here] for here, there in pairwise(circle))
        return
    assert sorted(order) == sorted(graph)
    for number, name in enumerate(order):
        assert graph[name] & graph.keys() <= set(order[:number])
