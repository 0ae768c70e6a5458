"""Where supervised stages start: from the weights of a pre-training, and from the checkpoint of a stopped run."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
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
    lines_of,
    results_of,
    supervised,
)
from workflows import started, workflow


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


@pytest.mark.parametrize(
    "name",
    ["segmentation", *(pytest.param(name, marks=pytest.mark.slow) for name in ("linear_cached", "detection"))],
)
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
