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
from ignite.engine import Events
from safetensors.torch import load_file
from supervised_runs import (
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
from workflows import started

from bundle.data.manifest import sha256_file

DRAWN = ("segmentation", "classification", "detection")
"""Stages that draw their curves and pictures, which takes longer than all the rest."""


@dataclass(frozen=True)
class Trained:
    """A run of one epoch.

    Attributes:
        stage: what was run.
        lists: folder of its data list.
        folder: what it left.
        drawn: whether it draws curves and pictures.
        wrong: what MONAI's check of properties found.
        weights: of its network after the run.
    """

    stage: Stage
    lists: Path
    folder: Path
    drawn: bool
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
    drawn = request.param in DRAWN
    with supervised(stage, lists, output, {} if drawn else UNDRAWN) as made:
        wrong = made.check_properties()
        made.run()
        weights = made.parser.get_parsed_content("saved_network").state_dict()
    yield Trained(stage, lists, output / stage.folder, drawn, wrong, weights)
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
    assert pictures == (["epoch_0001.png"] if trained.drawn and shown else [])
    assert (trained.folder / "curves.png").is_file() == trained.drawn


def test_steps_and_validation_are_recorded(trained: Trained) -> None:
    losses = lines_of(trained.folder / "losses.jsonl")
    assert [line["iteration"] for line in losses] == [1, 2, 3]
    validation = lines_of(trained.folder / "metrics.jsonl")
    assert [line["iteration"] for line in validation] == [3]
    assert {"validation_loss", trained.stage.key} <= set(validation[0])


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
    """A list with 25 test items, 23 of them annotated, which no batch size divides."""
    return edited_list(phantoms, tmp_path_factory.mktemp("varied"), many_to_test)


@pytest.mark.parametrize(
    "name",
    [
        *("segmentation", "classification"),
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("classes", "linear_cached", "detection", "yolo")),
    ],
)
def test_results_do_not_depend_on_the_batch_size(varied: Path, tmp_path: Path, name: str) -> None:
    stage = STAGES[name]
    # Enough steps for masks that are neither empty nor full, and for boxes that are sure enough to be kept.
    values = {"max_epochs": 10, "val_interval": 10, "learning_rate": 1e-3, "batch_size": 8, "augment": None, **UNDRAWN}
    if stage.folder.startswith("detection"):
        values |= {"task_network::min_score": 0.01, "learning_rate": 5e-3}
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
    assert {first[name]["n"] for name in whole} == {23}
    assert len({entry["value"] for entry in first.values()}) > 4
    for size, metrics in figures.items():
        assert metrics.keys() == first.keys(), size
        for name, entry in metrics.items():
            assert entry == pytest.approx(first[name], abs=1e-5), (size, name)


# ---------------------------------------------------------------------------------------------------------------------
# Learning
# ---------------------------------------------------------------------------------------------------------------------
def figures_on_training_images(
    stage: Stage, lists: Path, output: Path, images: int, **values: Any
) -> dict[str, dict[str, Any]]:
    """Figures of a training on a few images, validated and tested on the same ones, without augmentation."""
    chosen = f"(@datalist, 'training', @task, mask_key=@mask_key)[:{images}]"
    same = {
        "items::training": f"$labelled_items{chosen}",
        "items::validation": "@items::training",
        "items::test": "@items::training",
        "augment": None,
        "batch_size": 10,
        "val_interval": values["max_epochs"],
    }
    with supervised(stage, lists, output, same | UNDRAWN | values) as made:
        made.run()
    return results_of(output / stage.folder)["metrics"]


def test_segmentation_learns_a_few_images(phantoms: Path, tmp_path: Path) -> None:
    steps = {"max_epochs": 60, "learning_rate": 1e-2, "weight_decay": 0.0}
    figures = figures_on_training_images(STAGES["segmentation"], phantoms, tmp_path, images=10, **steps)
    assert figures["dice_pos"]["value"] > 0.5
    assert figures["dice_image"]["value"] > figures["dice_empty"]["value"]


def test_classification_learns_a_few_images(phantoms: Path, tmp_path: Path) -> None:
    steps = {"max_epochs": 40, "learning_rate": 1e-2}
    figures = figures_on_training_images(STAGES["classification"], phantoms, tmp_path, images=20, **steps)
    assert (figures["auc_macro"]["value"], figures["classes_skipped"]["value"]) == (1.0, 0.0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "head"),
    [
        ("detection", {"task_network::width": 32}),
        ("yolo", {"task_network::widths": [64, 32, 32], "task_network::min_score": 0.05, "frozen": []}),
    ],
)
def test_detection_learns_a_few_images(phantoms: Path, tmp_path: Path, name: str, head: dict[str, Any]) -> None:
    steps = {"max_epochs": 80, "learning_rate": 2e-3}
    figures = figures_on_training_images(STAGES[name], phantoms, tmp_path, images=10, **steps, **head)
    assert figures["ap_50"]["value"] > 0.5
    assert figures["froc"]["value"] > 0.5
