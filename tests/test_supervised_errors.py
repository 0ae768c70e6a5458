"""What a person sees when a supervised stage cannot be run: one sentence with file and reason, and no network left."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from monai.bundle import ConfigWorkflow
from PIL import Image
from supervised_runs import (
    ENCODER,
    SMALL,
    STAGES,
    UNDRAWN,
    Stage,
    edited_list,
    items_of,
    one_class_each,
    supervised,
)
from workflows import started

from bundle.handlers.plain_errors import plain_cause
from bundle.networks.weights.checkpoint import CARD_FIELDS, save_weights

Edit = Callable[[dict[str, Any]], object]


def unchanged(datalist: dict[str, Any]) -> None:
    """Leave the list as it is."""


def sentence_of(run: AbstractContextManager[ConfigWorkflow], output: Path) -> str:
    """What a run ends with; it leaves no network, no checkpoint and no results."""
    with pytest.raises(Exception) as raised, run as made:  # noqa: PT011, MONAI wraps what its components raise
        made.run()
    cause = plain_cause(raised.value)
    assert cause is not None, raised.value
    assert [path for path in output.rglob("*") if path.suffix in (".safetensors", ".pt")] == []
    assert list(output.rglob("results.json")) == []
    assert len(str(cause).splitlines()) == 1
    return str(cause)


def check_sentence(sentence: str, *parts: str) -> None:
    assert [part for part in parts if part not in sentence] == [], sentence


# ---------------------------------------------------------------------------------------------------------------------
# Lists
# ---------------------------------------------------------------------------------------------------------------------
def first(datalist: dict[str, Any], **values: Any) -> None:
    """Change the first item of the training list."""
    datalist["training"][0] |= values


def unlabel_subset(datalist: dict[str, Any], *keys: str) -> None:
    for item in datalist["training"]:
        if 1 in item["subset"]:
            for key in keys:
                item.pop(key, None)


def drop_validation(datalist: dict[str, Any]) -> None:
    datalist["test"] += datalist.pop("validation")


LISTS: dict[str, tuple[str, Edit, dict[str, Any], tuple[str, ...]]] = {
    "no subset": (
        "segmentation",
        unchanged,
        {"fraction": 5},
        ("datalist.json: the list has no subset of 5 %; it has 1, 10, 100",),
    ),
    "empty subset of masks": (
        "segmentation",
        lambda d: unlabel_subset(d, "mask", "boxes", "box_label"),
        {"fraction": 1},
        ("datalist.json: none of the 1 items of the subset of 1 % of training has a mask", "segmentation needs"),
    ),
    "empty subset of labels": (
        "classification",
        lambda d: unlabel_subset(d, "label"),
        {"fraction": 1},
        ("datalist.json: none of the 1 items of the subset of 1 % of training has a 'label'",),
    ),
    "no validation split": (
        "segmentation",
        drop_validation,
        {},
        ("datalist.json: the list has no split 'validation', only training, test",),
    ),
    "short label": (
        "classification",
        lambda d: first(d, label=[0, 1, 0, 0]),
        {},
        ("phantom-0", "label has 4 values for 5 classes"),
    ),
    "fewer classes": (
        "classification",
        unchanged,
        {"classes": ["a", "b"]},
        ("datalist.json: the label of", "phantom-0.png is a list of 5 values", "here they are 2 (a, b)"),
    ),
    "fewer exclusive classes": (
        "multiclass",
        one_class_each,
        {"classes": ["a", "b"]},
        ("datalist.json: the label of", "phantom-0.png is the class number 4", "here they are 2 (a, b)"),
    ),
    "fewer classes of boxes": (
        "detection",
        unchanged,
        {"classes": ["a", "b"]},
        ("datalist.json: the label of", "phantom-0.png is the class number 4 for a box", "here they are 2 (a, b)"),
    ),
    "several labels": (
        "multiclass",
        unchanged,
        {},
        ("phantom-0.png is a list of one value a class: run it without multiclass.yaml",),
    ),
    "one label": (
        "classification",
        one_class_each,
        {},
        ("phantom-0.png is the number of a class: add multiclass.yaml",),
    ),
    "unknown class in a dict of masks": (
        "classes",
        unchanged,
        {"classes": ["nodule", "fracture"]},
        ("phantom-0.png: it has a mask of 'cardiomegaly', which is none of nodule, fracture",),
    ),
    "unknown key of masks": (
        "segmentation",
        unchanged,
        {"mask_key": "lungs"},
        ("datalist.json: no item has a 'lungs'",),
    ),
    "box outside its size": (
        "detection",
        lambda d: first(d, boxes=[[40, 40, 65, 60]], box_label=[0]),
        {},
        ("phantom-0", "box [40, 40, 65, 60] leaves the image of 64 x 64 pixels"),
    ),
    "boxes of another size": (
        "detection",
        lambda d: first(d, boxes=[[40, 40, 100, 60]], box_label=[0], size=[128, 128]),
        {},
        ("phantom-0.png: what its boxes were drawn on has 128 x 128 pixels, but the image 64 x 64",),
    ),
    "label of a box that is no class": (
        "detection",
        lambda d: first(d, boxes=[[4, 4, 10, 6]], box_label=[5]),
        {},
        ("datalist.json", "phantom-0", "box_label"),
    ),
    "no list": (
        "segmentation",
        unchanged,
        {"datalist": "no/list.json"},
        ("no/list.json: the data list can't be read",),
    ),
}


@pytest.mark.parametrize(("name", "edit", "values", "parts"), LISTS.values(), ids=LISTS.keys())
def test_unfit_list(
    phantoms: Path, tmp_path: Path, name: str, edit: Edit, values: dict[str, Any], parts: tuple[str, ...]
) -> None:
    lists = edited_list(phantoms, tmp_path / "list", edit)
    run = supervised(STAGES[name], lists, tmp_path / "runs", {**UNDRAWN, **values})
    check_sentence(sentence_of(run, tmp_path / "runs"), *parts)


@pytest.mark.parametrize(
    ("name", "values", "key"),
    [
        ("segmentation", {}, "mask"),
        ("classes", {"classes": ["cardiomegaly", "nodule"]}, "finding_masks"),
    ],
)
def test_mask_of_another_size(phantoms: Path, tmp_path: Path, name: str, values: dict[str, Any], key: str) -> None:
    for folder in ("images", "masks"):
        shutil.copytree(phantoms / folder, tmp_path / "list" / folder)
    Image.new("L", (64, 50)).save(tmp_path / "list" / "masks" / "small.png")
    mask = "masks/small.png" if key == "mask" else {"nodule": "masks/small.png"}

    def edit(datalist: dict[str, Any]) -> None:
        datalist["image_root"] = "."
        for item in items_of(datalist):
            item.get("finding_masks", {}).pop("consolidation", None)
        datalist["training"][0][key] = mask

    lists = edited_list(phantoms, tmp_path / "list", edit)
    sentence = sentence_of(supervised(STAGES[name], lists, tmp_path / "runs", UNDRAWN | values), tmp_path / "runs")
    check_sentence(sentence, "phantom-0.png: the mask", "small.png has 50 x 64 pixels, but the image 64 x 64")


# ---------------------------------------------------------------------------------------------------------------------
# Weights
# ---------------------------------------------------------------------------------------------------------------------
CARD = dict.fromkeys(CARD_FIELDS) | {"method": "test", "image_mean": 0.4, "image_std": 0.2}

WIDER = ENCODER | {"channels": [24, 48, 96, 192]}
DEEPER = {"image_name": "resnet26", "image_encoder": ENCODER}


def untrained(stage: str, lists: Path, path: Path, values: dict[str, Any]) -> str:
    """File with the weights that a stage's network begins with."""
    with supervised(STAGES[stage], lists, path.parent / "made", values) as made:
        return str(save_weights(made.parser.get_parsed_content("saved_network"), path, CARD))


@pytest.mark.parametrize(
    ("stage", "own", "other", "parts"),
    [
        ("segmentation", {}, {"image_encoder": WIDER}, ("mismatched (image_encoder.", "(24,) for (16,)")),
        ("classification", DEEPER, {}, ("missing (image_encoder.", "mismatched (image_encoder.")),
        ("detection", {}, DEEPER, ("unexpected (image_encoder.", "mismatched (image_encoder.")),
    ],
)
def test_start_from_another_backbone(
    phantoms: Path, tmp_path: Path, stage: str, own: dict[str, Any], other: dict[str, Any], parts: tuple[str, ...]
) -> None:
    start = untrained("segmentation", phantoms, tmp_path / "other.safetensors", other)
    run = supervised(STAGES[stage], phantoms, tmp_path / "runs", {"start": start, **UNDRAWN, **own}, ("init_encoder",))
    check_sentence(sentence_of(run, tmp_path / "runs"), start, " matched; ", " missing", " unexpected", *parts)


def test_decoder_for_a_network_without_one(phantoms: Path, tmp_path: Path) -> None:
    start = untrained("classification", phantoms, tmp_path / "other.safetensors", {})
    run = supervised(STAGES["segmentation"], phantoms, tmp_path / "runs", {"start": start}, ("init_encoder_decoder",))
    sentence = sentence_of(run, tmp_path / "runs")
    check_sentence(sentence, start, "image_encoder, decoder cannot be taken", "missing (decoder.")


EVALUATED: dict[str, tuple[str, dict[str, Any], tuple[str, ...]]] = {
    "classes of masks": ("segmentation", {"classes": ["a", "b"]}, ("decoder.head.", "mismatched")),
    "classes of labels": ("classification", {"classes": ["a", "b", "c"]}, ("head.weight (3, 64) for (5, 64)",)),
    "classes of boxes": ("yolo", {"classes": ["a"]}, ("mismatched (head.outputs.",)),
    "backbone": ("classification", {"image_encoder": WIDER}, ("mismatched (", "image_encoder.")),
    "depth": ("detection", DEEPER, ("missing", "unexpected (image_encoder.")),
}


@pytest.mark.parametrize(("name", "other", "parts"), EVALUATED.values(), ids=EVALUATED.keys())
def test_evaluation_of_another_network(
    phantoms: Path, tmp_path: Path, name: str, other: dict[str, Any], parts: tuple[str, ...]
) -> None:
    trained = untrained(name, phantoms, tmp_path / "other.safetensors", other)
    sentence = sentence_of(evaluation(STAGES[name], phantoms, tmp_path / "runs", trained), tmp_path / "runs")
    check_sentence(sentence, trained, " matched; ", " missing", " unexpected", *parts)


def test_evaluation_without_weights(phantoms: Path, tmp_path: Path) -> None:
    run = evaluation(STAGES["segmentation"], phantoms, tmp_path / "runs", "no/best.safetensors")
    check_sentence(sentence_of(run, tmp_path / "runs"), "no/best.safetensors: there is no such weights file")


def evaluation(stage: Stage, lists: Path, output: Path, trained: str) -> AbstractContextManager[ConfigWorkflow]:
    """An evaluation over the configs of a stage."""
    values = {"dataset_dir": str(lists), "output_root": str(output), **SMALL, **stage.values, "trained": trained}
    return started((*stage.configs, "evaluate"), values, run_id="evaluating")


# ---------------------------------------------------------------------------------------------------------------------
# The command
# ---------------------------------------------------------------------------------------------------------------------
@pytest.mark.slow
def test_command_ends_in_one_sentence(repository: Path, phantoms: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "monai.bundle", "run", "training", "--config_file", "configs/train.yaml"]
    options = ["--dataset_dir", str(phantoms), "--output_root", str(tmp_path), "--fraction", "5"]
    ended = subprocess.run([*command, *options], cwd=repository, capture_output=True, text=True, timeout=240)
    assert ended.returncode != 0
    said = ended.stdout + ended.stderr
    assert "Traceback" not in said
    (sentence,) = [line for line in said.splitlines() if line.startswith("error: ")]
    check_sentence(sentence, str(phantoms), "the list has no subset of 5 %; it has 1, 10, 100")
