"""The supervised stages as a user runs them: trained, tested, evaluated and started again, from the configs alone."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from ignite.engine import Engine, Events
from monai.bundle import ConfigWorkflow
from safetensors.torch import load_file
from supervised_runs import (
    SMALL,
    STAGES,
    UNDRAWN,
    Stage,
    edited_list,
    evaluated,
    lines_of,
    many_to_test,
    one_class_each,
    results_of,
    supervised,
)
from workflows import started, workflow

from bundle.data.manifest import sha256_file


@dataclass(frozen=True)
class Trained:
    """A run of one epoch.

    Attributes:
        stage: what was run.
        lists: folder of its data list.
        folder: what it left.
        wrong: what MONAI's check of properties found.
        weights: of its network after the run.
    """

    stage: Stage
    lists: Path
    folder: Path
    wrong: list[str] | None
    weights: dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def exclusive(phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return edited_list(phantoms, tmp_path_factory.mktemp("exclusive"), one_class_each)


@pytest.fixture(scope="module", params=STAGES)
def trained(
    request: pytest.FixtureRequest, phantoms: Path, exclusive: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Trained]:
    stage = STAGES[request.param]
    lists = exclusive if stage.exclusive else phantoms
    output = tmp_path_factory.mktemp(request.param)
    with supervised(stage, lists, output) as made:
        wrong = made.check_properties()
        made.run()
        weights = made.parser.get_parsed_content("saved_network").state_dict()
    yield Trained(stage, lists, output / stage.folder, wrong, weights)
    shutil.rmtree(output)


# ---------------------------------------------------------------------------------------------------------------------
# Every stage
# ---------------------------------------------------------------------------------------------------------------------
def test_property_check_finds_all(trained: Trained) -> None:
    assert trained.wrong == []


def test_results_have_one_schema(trained: Trained) -> None:
    results = results_of(trained.folder)
    datalist = trained.lists / "datalist.json"
    assert results["stage"] == trained.folder.parent.name
    assert (results["list"], results["list_sha256"]) == ("phantom", sha256_file(datalist))
    assert results["seeds"] == [0]
    assert results["protocol"]
    assert results["metrics"][trained.stage.key]["n"] == trained.stage.scored
    for name, entry in results["metrics"].items():
        assert set(entry) == {"value", "low", "high", "n"}, name
        if entry["n"] is None:
            assert name in ("classes_skipped", "classes_without_threshold")
            assert (entry["low"], entry["high"]) == (None, None)
        else:
            assert 0 < entry["n"] <= 7, name
            assert entry["low"] <= entry["high"], name


def test_best_network_is_saved_with_its_card(trained: Trained) -> None:
    saved = load_file(trained.folder / "models" / "best.safetensors")
    assert saved.keys() == trained.weights.keys()
    assert [name for name in saved if not torch.equal(saved[name], trained.weights[name])] == []
    card = json.loads((trained.folder / "models" / "best.json").read_text(encoding="utf-8"))
    (validation,) = lines_of(trained.folder / "metrics.jsonl")
    assert card["best"] == {"metric": trained.stage.key, "value": validation[trained.stage.key], "epoch": 1}
    datalist = {"name": "phantom", "sha256": sha256_file(trained.lists / "datalist.json")}
    facts = {"method": trained.folder.parent.name, "image_encoder": "resnet18", "image_size": 64, "data": datalist}
    facts |= {"image_mean": 0.449, "image_std": 0.226, "fraction": 100, "seed": 0, "start": None, "iterations": 3}
    assert {name: card[name] for name in facts} == facts
    assert card["classes"]
    assert card["store"]["fit"] in ("pad", "stretch")


def test_pictures_show_the_test_images(trained: Trained) -> None:
    pictures = sorted(path.name for path in (trained.folder / "pictures").glob("*"))
    shown = trained.folder.parent.name in ("segmentation", "detection")
    assert pictures == (["epoch_0001.png"] if shown else [])


def test_steps_and_validation_are_recorded(trained: Trained) -> None:
    losses = lines_of(trained.folder / "losses.jsonl")
    assert [line["iteration"] for line in losses] == [1, 2, 3]
    validation = lines_of(trained.folder / "metrics.jsonl")
    assert [line["iteration"] for line in validation] == [3]
    assert {"validation_loss", trained.stage.key} <= set(validation[0])
    assert (trained.folder / "curves.png").stat().st_size > 0


def test_config_of_a_run_runs_again(trained: Trained, tmp_path: Path) -> None:
    with started((str(trained.folder / "config"),), {"output_root": str(tmp_path), **UNDRAWN}) as made:
        made.run()
    again = tmp_path / trained.stage.folder
    assert (again / "losses.jsonl").read_bytes() == (trained.folder / "losses.jsonl").read_bytes()
    assert results_of(again) == results_of(trained.folder)


def test_evaluation_gives_the_figures_of_the_run(trained: Trained, tmp_path: Path) -> None:
    with evaluated(trained.folder, tmp_path / "evaluation", UNDRAWN) as made:
        made.run()
    assert results_of(tmp_path / "evaluation") == results_of(trained.folder)


# ---------------------------------------------------------------------------------------------------------------------
# Several seeds
# ---------------------------------------------------------------------------------------------------------------------
def test_seeds_are_trained_apart_and_taken_together(phantoms: Path, tmp_path: Path) -> None:
    stage = STAGES["linear"]
    for name, seeds in (("alone", [5]), ("several", [3, 5])):
        with supervised(stage, phantoms, tmp_path, {"seeds": seeds, "name": name, **UNDRAWN}) as made:
            made.run()
    folder = tmp_path / "classification"
    each = [folder / "several" / f"seed_{seed}" for seed in (3, 5)]
    assert (each[1] / "losses.jsonl").read_bytes() == (folder / "alone" / "losses.jsonl").read_bytes()
    assert results_of(each[1]) == results_of(folder / "alone")
    weights = [load_file(path / "models" / "best.safetensors")["head.weight"] for path in each]
    assert not torch.equal(*weights)
    check_together(results_of(folder / "several"), [results_of(path) for path in each])


def check_together(together: dict[str, Any], each: list[dict[str, Any]]) -> None:
    """That the figures of two seeds are taken together as the schema says."""
    assert [result["seeds"] for result in (together, *each)] == [[3, 5], [3], [5]]
    assert together["metrics"]["ece_macro"]["deviation"] > 0, "another seed is another network"
    for name, entry in together["metrics"].items():
        values = [result["metrics"][name]["value"] for result in each]
        assert set(entry) == {"value", "low", "high", "n", "deviation", "per_seed"}
        assert entry["per_seed"] == values
        assert entry["value"] == pytest.approx(sum(values) / 2)
        assert entry["deviation"] == pytest.approx(abs(values[0] - values[1]) / 2**0.5)


# ---------------------------------------------------------------------------------------------------------------------
# What is served
# ---------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("fraction", "count"), [(1, 1), (10, 6), (100, 60)])
@pytest.mark.parametrize("name", ["segmentation", "classification", "detection", "linear_cached"])
def test_fraction_trains_on_the_subset_of_the_list(
    phantoms: Path, tmp_path: Path, name: str, fraction: int, count: int
) -> None:
    datalist = json.loads((phantoms / "datalist.json").read_text(encoding="utf-8"))
    subset = {item["id"] for item in datalist["training"] if fraction in item["subset"]}
    assert len(subset) == count
    seen: list[int] = []
    values = {"max_epochs": 2, "batch_size": 20, "train::trainer::train_handlers": "$[]"}
    with supervised(STAGES[name], phantoms, tmp_path, values, (f"fraction_{fraction}",)) as made:
        trainer = made.parser.get_parsed_content("train::trainer")
        trainer.add_event_handler(
            Events.ITERATION_COMPLETED, lambda engine: seen.extend(engine.state.batch["index"].tolist())
        )
        made.run()
        items = made.parser.get_parsed_content("items::training")
    served = [Path(items[index]["image"]).stem for index in seen]
    assert len(served) == 2 * count
    assert set(served) == subset


@pytest.fixture(scope="module")
def varied(phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A list with 25 test items, 24 of them annotated."""
    return edited_list(phantoms, tmp_path_factory.mktemp("varied"), many_to_test)


@pytest.mark.parametrize("name", ["segmentation", "classes", "classification", "linear_cached", "detection", "yolo"])
def test_results_do_not_depend_on_the_batch_size(varied: Path, tmp_path: Path, name: str) -> None:
    stage = STAGES[name]
    # Enough steps for masks that are neither empty nor full, and for boxes that are sure enough to be kept.
    values = {"max_epochs": 8, "val_interval": 8, "learning_rate": 5e-3, "batch_size": 8, **UNDRAWN}
    if stage.folder.startswith("detection"):
        values["task_network::min_score"] = 0.01
    with supervised(stage, varied, tmp_path, values) as made:
        made.run()
    figures = {8: results_of(tmp_path / stage.folder)["metrics"]}
    for size in (1, 3):
        output = tmp_path / f"batches of {size}"
        with evaluated(tmp_path / stage.folder, output, {"batch_size": size}) as made:
            made.run()
        figures[size] = results_of(output)["metrics"]
    check_figures(figures)


def check_figures(figures: dict[int, dict[str, Any]]) -> None:
    """That all items were seen, that the figures say something, and that they are the same for all batch sizes."""
    first = figures[8]
    whole = {"dice_image", "dice_image_nodule", "ece_macro", "map_40_75", "froc"} & first.keys()
    assert {first[name]["n"] for name in whole} == {24}
    assert len({entry["value"] for entry in first.values()}) > 5
    for size, metrics in figures.items():
        assert metrics.keys() == first.keys(), size
        for name, entry in metrics.items():
            assert entry == pytest.approx(first[name], abs=1e-5), (size, name)


# ---------------------------------------------------------------------------------------------------------------------
# From pre-training
# ---------------------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def pretrained(phantom_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the weights of a pre-training of one epoch, with a normalisation of its own."""
    output = tmp_path_factory.mktemp("pretrained")
    values = {"pa_start_step": 2, "image_mean": 0.4, "image_std": 0.3}
    with workflow(phantom_store, output, ("pretrain", "demo"), values) as made:
        made.run()
    return output / "pretrain" / "demo" / "models"


def downstream(lists: Path, output: Path, start: Path, **values: Any) -> dict[str, Any]:
    """Values for a stage over train.yaml + demo.yaml, which has the encoder of the pre-training."""
    small = {name: SMALL[name] for name in ("device", "precision", "decoding_threads", "max_epochs", "log_every")}
    given = {"dataset_dir": str(lists), "output_root": str(output), "start": str(start), "val_interval": 1}
    return given | small | UNDRAWN | values


@pytest.mark.parametrize(
    ("overlay", "file", "taken"),
    [
        ("init_encoder", "encoder", ("image_encoder.",)),
        ("init_encoder", "encoder_decoder", ("image_encoder.",)),
        ("init_encoder_decoder", "encoder_decoder", ("image_encoder.", "decoder.")),
        ("init_encoder_decoder", "model", ("image_encoder.", "decoder.")),
        ("init_random", "encoder_decoder", ()),
    ],
)
def test_start_takes_exactly_its_parts(
    pretrained: Path, phantoms: Path, tmp_path: Path, overlay: str, file: str, taken: tuple[str, ...]
) -> None:
    start = pretrained / f"{file}.safetensors"
    values = downstream(phantoms, tmp_path, start)
    if overlay == "init_random":
        del values["start"]
    with started(("train", "demo", overlay), values) as made:
        own = made.parser.get_parsed_content("network_def").state_dict()
    pretraining = load_file(pretrained / "model.safetensors")
    equal = {name for name, tensor in own.items() if torch.equal(tensor, pretraining[name])}
    constant = {name for name, tensor in pretraining.items() if name in own and tensor.unique().numel() == 1}
    assert {name for name in own if name.startswith(taken or "none")} <= equal
    assert {name for name in equal - constant if not name.startswith(taken or "none")} == set()


def test_run_from_pretraining_sees_images_as_pretraining_did(pretrained: Path, phantoms: Path, tmp_path: Path) -> None:
    values = downstream(phantoms, tmp_path, pretrained / "encoder_decoder.safetensors")
    with started(("train", "demo", "init_encoder_decoder"), values) as made:
        made.run()
        before, target = made.parser.get_parsed_content("validate::prepare_batch")(
            {"image": torch.full((1, 1, 64, 64), 255.0), "label": torch.zeros(1, 1, 64, 64)}
        )
    assert before.unique().tolist() == pytest.approx([0.6 / 0.3])
    assert target["label"].shape == (1, 1, 64, 64)
    card = json.loads((tmp_path / "segmentation" / "demo" / "models" / "best.json").read_text(encoding="utf-8"))
    facts = {"image_mean": 0.4, "image_std": 0.3, "image_size": 64, "start": "g2d"}
    assert {name: card[name] for name in facts} == facts


def test_size_fit_and_encoder_come_from_the_card(pretrained: Path, phantoms: Path, tmp_path: Path) -> None:
    start = tmp_path / "other.safetensors"
    shutil.copy(pretrained / "encoder.safetensors", start)
    card = json.loads((pretrained / "encoder.json").read_text(encoding="utf-8"))
    card |= {"image_size": 48, "store": {"fit": "stretch"}, "image_encoder": "resnet34"}
    start.with_suffix(".json").write_text(json.dumps(card), encoding="utf-8")
    values = downstream(phantoms, tmp_path, start) | {"start_parts": []}
    with started(("train",), values) as made:
        assert made.parser.get_parsed_content("image_name") == "resnet34"
        assert made.parser.get_parsed_content("fit") == "stretch"
        assert made.parser.get_parsed_content("train::dataset")[0]["image"].shape == (1, 48, 48)


def test_head_of_another_number_of_classes_stays_as_built(pretrained: Path, phantoms: Path, tmp_path: Path) -> None:
    values = downstream(phantoms, tmp_path, pretrained / "encoder_decoder.safetensors", classes=["a", "b"])
    with started(("train", "demo", "init_encoder_decoder"), values) as made:
        own = made.parser.get_parsed_content("network_def").state_dict()
    pretraining = load_file(pretrained / "model.safetensors")
    other = {name for name in own if own[name].shape != pretraining[name].shape}
    assert other == {"decoder.head.weight", "decoder.head.bias"}
    assert [name for name in own if name not in other and not torch.equal(own[name], pretraining[name])] == []


# ---------------------------------------------------------------------------------------------------------------------
# Stopped and started again
# ---------------------------------------------------------------------------------------------------------------------
class Killed(Exception):
    """Stands for the end of a process."""


def run_until(made: ConfigWorkflow, iteration: int) -> None:
    """Train, and end with an exception right after a step."""

    def kill(engine: Engine) -> None:
        if engine.state.iteration == iteration:
            raise Killed

    made.parser.get_parsed_content("train::trainer").add_event_handler(Events.ITERATION_COMPLETED, kill)
    with pytest.raises(RuntimeError) as raised:  # MONAI wraps what its components raise
        made.run()
    assert Killed in causes(raised.value)


def causes(error: BaseException | None) -> Iterator[type[BaseException]]:
    while error is not None:
        yield type(error)
        error = error.__cause__ or error.__context__


@pytest.mark.parametrize("name", ["segmentation", "linear_cached", "detection"])
def test_killed_run_continues_bit_for_bit(phantoms: Path, tmp_path: Path, name: str) -> None:
    stage = STAGES[name]
    values = {"max_epochs": 3, "checkpoint_every": 2, "batch_size": 20, **UNDRAWN}
    with supervised(stage, phantoms, tmp_path / "whole", values) as made:
        made.run()
    for iteration in (3, 6):
        with supervised(stage, phantoms, tmp_path / "killed", values) as made:
            run_until(made, iteration)
    with supervised(stage, phantoms, tmp_path / "killed", values) as made:
        made.run()
    whole, killed = (tmp_path / folder / stage.folder for folder in ("whole", "killed"))
    assert [line["iteration"] for line in lines_of(whole / "losses.jsonl")] == list(range(1, 10))
    for file in ("losses.jsonl", "models/best.safetensors"):
        assert (killed / file).read_bytes() == (whole / file).read_bytes(), file
    assert results_of(killed) == results_of(whole)
