"""Sweep files: what they may say, and the jobs that follow."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from fire.parser import DefaultParseValue
from hypothesis import given
from hypothesis import strategies as st
from monai.bundle import ConfigParser
from monai.bundle.scripts import update_kwargs
from sweep_parts import SWEEP, write_sweep

from scripts.sweeping.errors import SweepError
from scripts.sweeping.ids import check_ids
from scripts.sweeping.jobs import cells_of
from scripts.sweeping.references import names_in, put_in
from scripts.sweeping.sweep_file import Sweep, read_sweep

CONFIGS = Path(__file__).resolve().parent.parent.parent / "configs"
SWEEPS = sorted(path for path in (CONFIGS / "sweeps").glob("*.yaml") if not path.stem.startswith("base"))
PUBLISHED = {
    *("decoder_target", "threshold", "projector_width", "heads_merged", "head_count"),
    *("body_and_smoothing", "shuffled_masks"),
}


def read(folder: Path, content: dict[str, Any]) -> Sweep:
    return read_sweep(write_sweep(folder, content), CONFIGS)


def with_(**keys: Any) -> dict[str, Any]:
    return copy.deepcopy(SWEEP) | keys


def test_equal_commands_are_one_job(tmp_path: Path) -> None:
    cells = cells_of(read(tmp_path, SWEEP), tmp_path / "out")
    assert [cell.name for cell in cells] == ["plain/seed_0", "more/seed_0", "plain/seed_1", "more/seed_1"]
    jobs = {cell.name: cell.jobs for cell in cells}
    assert len({jobs[name]["numbers"] for name in jobs}) == 1
    assert len({jobs[name]["pretrain"] for name in jobs}) == 4
    probe = jobs["more/seed_1"]["probe"]
    assert probe.needs == (jobs["more/seed_1"]["pretrain"],)
    assert probe.command[probe.command.index("--pretrained") + 1] == str(jobs["more/seed_1"]["pretrain"].folder)
    assert str(tmp_path / "out" / "steps" / "probe") == str(probe.folder.parent)


def test_a_job_is_known_by_what_it_is_made_from_and_not_by_where(tmp_path: Path) -> None:
    here = cells_of(read(tmp_path, SWEEP), tmp_path / "here")
    there = cells_of(read(tmp_path, with_(about="Other words.")), tmp_path / "there")
    names = [[job.fingerprint for cell in cells for job in cell.jobs.values()] for cells in (here, there)]
    assert names[0] == names[1]
    content = copy.deepcopy(SWEEP)
    content["data"]["numbers"]["command"] += " 4"  # what follows from the data is another job as well
    other = cells_of(read(tmp_path, content), tmp_path / "here")
    assert {job for cell in here for job in cell.jobs.values()}.isdisjoint(
        job for cell in other for job in cell.jobs.values()
    )


def test_a_base_is_laid_under_key_by_key(tmp_path: Path) -> None:
    write_sweep(tmp_path, SWEEP, "base")
    own = {"base": "base.yaml", "steps": {"pretrain": {"overrides": {"steps": 7}}}, "variants": {"plain": None}}
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(own))
    sweep = read_sweep(tmp_path / "own.yaml", CONFIGS)
    assert sweep.name == "own"
    assert list(sweep.variants) == ["plain", "more"]
    overrides = {step.name: step.overrides for step in sweep.variants["more"]}["pretrain"]
    assert overrides == {"dataset_dir": "{numbers}", "seed": "{seed}", "value": 1.5, "steps": 7}


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (with_(seed=[1]), "unknown seed; there are about, base, baseline"),
        (with_(seeds=[1, 1]), "seeds must be distinct whole numbers such as [0, 1, 2], not [1, 1]"),
        (with_(seeds=[True]), "seeds must be distinct whole numbers"),
        (with_(seeds=3), "seeds must be distinct whole numbers"),
        (with_(baseline="plan"), "the baseline 'plan' is no variant; there are plain, more"),
        (with_(variants={}), "variants must be given, in the file or in its base"),
        (with_(variants={"plain": {"pretrian": {}}}), "unknown pretrian; there are pretrain, probe"),
        (with_(variants={"plain": {"pretrain": {"run": "x"}}}), "unknown run; there are configs, overrides"),
        (with_(variants={"plain": {"pretrain": {"configs": ["no_such"]}}}), "there is no config"),
        (with_(variants={"../x": None}), "'../x' cannot be a name"),
        (with_(measures={"m": "auc"}), "measure 'm' is 'auc', which must be STEP.METRIC"),
        (with_(measures={"m": "nowhere.auc"}), "which must be STEP.METRIC with a step of the file"),
        (with_(data={"seed": {"command": "a", "product": "b"}}), "'seed' cannot be a name"),
        (with_(data={"numbers": {"command": "a"}}), "'command' and 'product' must be given as text"),
        (with_(data={"pretrain": {"command": "a", "product": "b"}}), "pretrain is both data and a step"),
        (with_(data={}), "'pretrain' refers to {numbers}; there are pretrain, probe, seed"),
        (
            with_(data={"numbers": {"command": "made_data {probe}", "product": "b"}}),
            "refer to each other in a circle",
        ),
        (with_(steps={"pretrain": {"configs": ["tiny.yaml"]}}, measures={"m": "pretrain.a"}), "'run' and 'configs'"),
        (with_(base="moments.yaml"), "files whose bases are each other say nothing"),
        (with_(base="nowhere.yaml"), "nowhere.yaml: the sweep file cannot be read (No such file or directory)"),
    ],
)
def test_what_cannot_be_is_told_in_one_sentence(tmp_path: Path, content: dict[str, Any], sentence: str) -> None:
    with pytest.raises(SweepError) as error:
        read(tmp_path, content)
    assert sentence in str(error.value)
    assert str(tmp_path) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["", "- 1\n", "a: [", "\x00"])
def test_files_that_hold_no_sweep(tmp_path: Path, text: str) -> None:
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(SweepError, match=r"bad\.yaml"):
        read_sweep(tmp_path / "bad.yaml", CONFIGS)


plain = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text("ab_@$ 1.")
)
nested = st.recursive(
    plain, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc"), inner, max_size=3)
)


@given(nested)
def test_values_reach_the_runner_as_they_are(tmp_path_factory: pytest.TempPathFactory, value: Any) -> None:
    content = copy.deepcopy(SWEEP)
    content["steps"]["pretrain"]["overrides"]["value"] = value
    content["variants"] = {"plain": None}
    job = cells_of(read(tmp_path_factory.getbasetemp(), content), "out")[0].jobs["pretrain"]
    parsed = DefaultParseValue(job.command[job.command.index("--value") + 1])
    taken = update_kwargs({"value": "as before"}, value=parsed)["value"]  # as the runner does with its options
    assert (ConfigParser({"value": taken}).get_parsed_content("value") if value is None else taken) == value


def test_references_keep_types() -> None:
    assert names_in({"a": ["{x}/b", {"c": "{y}"}], "d": 1}) == {"x", "y"}
    assert put_in(["{x}", "{x}/b", 2, "{ no name }"], {"x": 3}) == [3, "3/b", 2, "{ no name }"]


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_sweeps_of_the_bundle_can_be_run(path: Path, tmp_path: Path) -> None:
    sweep = read_sweep(path, CONFIGS)
    cells = cells_of(sweep, tmp_path)
    assert len(sweep.seeds) >= 3
    assert sweep.about
    check_ids({job: cell.name for cell in cells for job in cell.jobs.values()})
    # No two variants are the same thing under two names.
    chains = [tuple(cell.jobs.values()) for cell in cells]
    assert len(set(chains)) == len(chains)


def test_published_ablations_are_there_and_share_their_baseline(tmp_path: Path) -> None:
    assert {path.stem for path in SWEEPS} >= PUBLISHED
    published = [read_sweep(path, CONFIGS) for path in SWEEPS if path.stem in PUBLISHED]
    assert {sweep.baseline for sweep in published} == {"published"}
    assert len({cells_of(sweep, tmp_path)[0].jobs["pretrain"] for sweep in published}) == 1


def test_only_variants_that_align_alike_go_on_from_the_shared_alignment(tmp_path: Path) -> None:
    """A step that goes on from another must differ from it in nothing that the alignment depends on."""
    of_decoder = ("pseudo_mask", "loss#terms#pseudo_segmentation", "loss#weights#pseudo_segmentation", "truth_list")
    for path in SWEEPS:
        for cell in cells_of(read_sweep(path, CONFIGS), tmp_path):
            pretrain = cell.jobs["pretrain"].made_from["overrides"]
            if pretrain["continues"] is None:
                assert "align" not in cell.jobs, cell.name  # nothing asks for it
                continue
            align = cell.jobs["align"].made_from["overrides"]
            own = {name for name in pretrain if pretrain[name] != align.get(name)} - {"continues"}
            later = {name for name in own if name.startswith(of_decoder)}
            later |= {"pa_start_step", "max_epochs", "val_interval"}
            assert own <= later, cell.name
            start = align.get("pa_start_step", 306)
            assert pretrain.get("pa_start_step", 306) >= start, cell.name
