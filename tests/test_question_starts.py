"""Question answering and image-text classification on what each method of pre-training has left, on one list."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from adaptor_runs import adaptor_workflow, cached
from m3ae_runs import m3ae_run
from pretrained import pretrained_run
from question_runs import IMAGE_TEXT, VQA, lists_of
from safetensors.torch import load_file
from supervised_runs import UNDRAWN, evaluated, results_of
from workflows import ONE_STEP, started

ROOM = {
    "device": "$torch.device('cpu')",
    "precision": "fp32",
    "log_every": 1,
    "decoding_threads": 1,
    "max_epochs": 1,
    "batch_size": 16,
    "fraction": 10,
    "augment": None,
    "test::results::resamples": 20,
    **UNDRAWN,
}
FROZEN_MAPS = {"_target_": "bundle.networks.encoders.frozen_image.PyramidTokens", "encoder": "@image_encoder"}


@dataclass(frozen=True)
class Start:
    """Weights of a pre-training, and how a stage goes on from them.

    Attributes:
        weights: `model.safetensors`.
        configs: over those of the stage.
        values: further overrides.
        taken: parts of the stage's network that begin as the pre-training's, by the prefix of their names there.
        frozen: parts that are not trained.
    """

    weights: Path
    configs: tuple[str, ...]
    values: Mapping[str, Any]
    taken: Mapping[str, str]
    frozen: tuple[str, ...] = ()


BOTH = {"image_encoder": "image_encoder", "text_encoder": "text_encoder"}
ADAPTOR = {"image_encoder": "image_encoder", "adaptor": "adaptor", "text_encoder": "text_encoder.encoder"}


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pretrained")


@pytest.fixture(scope="module")
def g2d_run(phantom_store: Path, output: Path) -> Path:
    return pretrained_run(phantom_store, output)[0]


@pytest.fixture(scope="module")
def g2d(g2d_run: Path) -> Start:
    return Start(weights_of(g2d_run), ("demo",), {"fusion::width": 16}, BOTH)


@pytest.fixture(scope="module")
def m3ae(phantom_store: Path, output: Path) -> Start:
    run, _ = m3ae_run(phantom_store, output)
    return Start(weights_of(run), ("fusion_m3ae",), {"image_size": 96}, {**BOTH, "fusion": "fusion"})


@pytest.fixture(scope="module")
def adaptor(phantom_store: Path, g2d_run: Path, output: Path) -> Start:
    with adaptor_workflow(cached(phantom_store, g2d_run, output / "features"), g2d_run, output) as made:
        made.run()
    sizes = {"adaptor::heads": 4, "adaptor::feedforward": 64, "frozen_image": FROZEN_MAPS, "fusion::width": 16}
    return Start(weights_of(output / "pretrain" / "adaptor"), ("adapted_vqa", "demo"), sizes, ADAPTOR, tuple(ADAPTOR))


@pytest.fixture(params=["g2d", "m3ae", "adaptor"])
def start(request: pytest.FixtureRequest) -> Start:
    return request.getfixturevalue(request.param)


def weights_of(run: Path) -> Path:
    return run / "models" / "model.safetensors"


def values_of(start: Start, lists: Path, output: Path, name: str) -> dict[str, Any]:
    texts = {"text_keys": ["impression"]} if name == "image_text" else {}
    # Overlays of the demo change what builds the text encoder; here it is the card of the start that does.
    from_card = {"text_source": "$@start_card['text_encoder']"}
    given = {"dataset_dir": str(lists), "output_root": str(output), "start": str(start.weights), "name": "run"}
    return {**given, **ROOM, **from_card, "val_interval": 1, **start.values, "name": "run", **texts}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vqa", "image_text"])
def test_stage_goes_on_from_a_method(start: Start, phantoms: Path, tmp_path: Path, name: str) -> None:
    lists = lists_of(name, phantoms, tmp_path / "list")
    stage = VQA if name == "vqa" else IMAGE_TEXT
    with started((*stage, *start.configs), values_of(start, lists, tmp_path, name)) as made:
        network = made.parser.get_parsed_content("network_def")
        check_begin(network.state_dict(), load_file(start.weights), start)
        made.run()
        after = network.state_dict()
    folder = tmp_path / name / "run"
    check_frozen(after, load_file(start.weights), start)
    key = {"vqa": "vqa_accuracy_overall", "image_text": "accuracy"}[name]
    metrics = results_of(folder)["metrics"]
    control = {"vqa": "question_only", "image_text": "text_only"}[name]
    assert {f"{key}{suffix}" for suffix in ("", "_prior", "_blank_image", f"_{control}")} <= set(metrics)
    card = json.loads((folder / "models" / "best.json").read_text(encoding="utf-8"))
    assert card["start"] == start.weights.parent.parent.name.replace("demo", "g2d")
    with evaluated(folder, tmp_path / "evaluation", UNDRAWN) as made:
        made.run()
    assert results_of(tmp_path / "evaluation")["metrics"][key] == metrics[key]


def check_begin(own: Mapping[str, torch.Tensor], before: Mapping[str, torch.Tensor], start: Start) -> None:
    """That the parts begin as pre-training left them, and the control with the same words."""
    for part, source in start.taken.items():
        names = [name for name in own if name.startswith(f"{part}.")]
        assert names
        for name in names:
            assert torch.equal(own[name], before[name.replace(part, source, 1)]), name
    for name, value in own.items():
        if name.startswith("question_only.text_encoder."):
            assert torch.equal(value, own[name.removeprefix("question_only.")]), name


def check_frozen(after: Mapping[str, torch.Tensor], before: Mapping[str, torch.Tensor], start: Start) -> None:
    """That frozen parts stay, statistics included, and the others do not."""
    for part, source in start.taken.items():
        changed = [
            name
            for name in after
            if name.startswith(f"{part}.") and not torch.equal(after[name], before[name.replace(part, source, 1)])
        ]
        assert bool(changed) != (part in start.frozen), part


@pytest.mark.slow
def test_rates_of_m3ae_are_the_published_ones(m3ae: Start, phantoms: Path, tmp_path: Path) -> None:
    values = values_of(m3ae, phantoms, tmp_path, "vqa") | {"image_size": 64}
    with started((*VQA, "fusion_m3ae"), values) as made:
        network = made.parser.get_parsed_content("network_def")
        groups = made.parser.get_parsed_content("optimizer").param_groups
    named = {id(parameter): name for name, parameter in network.named_parameters()}
    rates = {named[id(p)]: group.get("initial_lr", group["lr"]) for group in groups for p in group["params"]}
    assert len(rates) == len(named)
    for name, rate in rates.items():
        part = name.split(".")[0]
        factor = {"fusion": 5, "head": 50}.get(part, 50 if name.startswith("question_only.head") else 1)
        expected = 5e-6 * (1 if name.startswith("fusion.modality") else factor)
        assert rate == pytest.approx(expected), name
    decays = {named[id(p)]: group["weight_decay"] for group in groups for p in group["params"]}
    assert {decay for name, decay in decays.items() if name.endswith("bias") or "norm" in name.lower()} == {0.0}


PUBLISHED = {  # epochs, batch, factor of the head's rate, tokens
    "vqa_rad": (50, 64, 50, 32),
    "slake": (15, 32, 50, 32),
    "vqa_med_2019": (10, 32, 50, 32),
    "melinda": (20, 16, 10, 128),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED)
def test_published_settings_train(m3ae: Start, phantoms: Path, tmp_path: Path, name: str) -> None:
    task = "image_text" if name == "melinda" else "vqa"
    lists = lists_of(task, phantoms, tmp_path / "list")
    of_protocol = ("augment", "max_epochs", "batch_size", "fraction")
    values = {key: value for key, value in values_of(m3ae, lists, tmp_path, task).items() if key not in of_protocol}
    stage = IMAGE_TEXT if task == "image_text" else VQA
    small = {"image_size": 64, **ONE_STEP}
    with started((*stage, "fusion_m3ae", f"protocol_{name}"), values | small) as made:
        found = made.parser.get_parsed_content
        assert (found("max_epochs"), found("batch_size"), found("rate_factors")["head"], found("max_length")) == (
            PUBLISHED[name]
        )
        rates = {round(group["lr"] / 5e-6, 6) for group in found("optimizer").param_groups}
        assert rates == {1.0, 5.0, float(PUBLISHED[name][2])}
        if task == "vqa":
            assert found("vocabulary").mode == "m3ae"
        made.run()
        assert made.trainer.state.output["loss"].isfinite()
