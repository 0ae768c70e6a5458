"""A workspace that begins with the encoder and decoder of a pre-training run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from annotated import train, write_pairs
from monai.bundle import ConfigParser
from pretrained import pretrained_run
from safetensors.torch import load_file

from bundle.data.errors import DataError
from bundle.handlers.annotated_training import NETWORK
from bundle.networks.weights.errors import WeightsError
from scripts.labelling.started import prepare_started_workspace
from scripts.labelling.workspace import ROOT, prepare_workspace

NAME = "cxr_segmentation"


@pytest.fixture(scope="module")
def run(phantom_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pretrained_run(phantom_store, tmp_path_factory.mktemp("runs"))[0]


def configs(bundle: Path) -> dict[str, Any]:
    names = ("inference", "train", "metadata")
    return {name: json.loads((bundle / "configs" / f"{name}.json").read_text(encoding="utf-8")) for name in names}


def weights(bundle: Path) -> dict[str, torch.Tensor]:
    return torch.load(bundle / "models" / "model.pt", weights_only=True)


def test_it_has_the_runs_encoder_decoder_and_head(run: Path, tmp_path: Path) -> None:
    bundle = prepare_started_workspace(tmp_path / "work", NAME, run, ["opacity"])
    trained = load_file(run / "models" / "encoder_decoder.safetensors")
    found = weights(bundle)
    assert found.keys() == trained.keys()
    assert all(torch.equal(found[name], trained[name]) for name in trained)


def test_its_configs_tell_of_the_runs_network_and_of_the_classes(run: Path, tmp_path: Path) -> None:
    before = (ROOT / "configs" / "inference.json").read_bytes()
    bundle = prepare_started_workspace(tmp_path / "work", NAME, run, ["lung", "opacity"])
    card = json.loads((run / "models" / "model.json").read_text(encoding="utf-8"))
    written = configs(bundle)
    inference, output = written["inference"], written["metadata"]["network_data_format"]["outputs"]["pred"]
    assert (inference["image_size"], inference["image_mean"]) == (card["image_size"], card["image_mean"])
    assert inference["segment_codes"]["lung"][-1] == "Lung"
    assert inference["segment_codes"]["opacity"][-1] == "Tissue"
    assert (output["channel_def"], output["num_channels"]) == ({"0": "background", "1": "lung", "2": "opacity"}, 3)
    assert {name: written["train"][name] for name in NETWORK} == {name: inference[name] for name in NETWORK}
    assert (bundle / "configs" / "train.yaml").samefile(ROOT / "configs" / "train.yaml")
    assert (ROOT / "configs" / "inference.json").read_bytes() == before


def test_several_classes_have_a_head_of_their_own(run: Path, tmp_path: Path) -> None:
    bundle = prepare_started_workspace(tmp_path / "work", NAME, run, ["lung", "opacity"])
    parser = ConfigParser()
    parser.read_config(str(bundle / "configs" / "inference.json"))
    network = parser.get_parsed_content("network_def").eval()
    network.load_state_dict(weights(bundle))
    assert network(torch.zeros(1, 1, 64, 64)).shape == (1, 3, 64, 64)
    trained = load_file(run / "models" / "encoder_decoder.safetensors")
    found = weights(bundle)
    assert {name for name in found if not torch.equal(found[name], trained[name])} == {
        "decoder.head.weight",
        "decoder.head.bias",
    }


def test_training_goes_on_from_it(run: Path, tmp_path: Path) -> None:
    bundle = prepare_started_workspace(tmp_path / "work", NAME, run, ["opacity"])
    first = weights(bundle)
    train(bundle, write_pairs(tmp_path, 4), start=bundle / "models" / "model.pt")
    second = weights(bundle)
    assert first.keys() == second.keys()
    distance = sum(float((second[name].float() - first[name].float()).norm()) for name in first)
    assert 0 < distance < 0.2 * sum(float(value.float().norm()) for value in first.values())
    (card,) = (bundle / "trained" / "segmentation").glob("*/models/best.json")
    assert json.loads(card.read_text(encoding="utf-8"))["classes"] == ["opacity"]


def test_what_was_trained_stays_when_it_is_prepared_again_without_the_run(run: Path, tmp_path: Path) -> None:
    moved = shutil.copytree(run, tmp_path / "run")
    bundle = prepare_started_workspace(tmp_path / "work", NAME, moved, ["opacity"])
    (bundle / "models" / "model.pt").write_bytes(b"better")
    (bundle / "configs" / "inference.json").unlink()
    shutil.rmtree(moved)
    prepare_started_workspace(tmp_path / "work", NAME, moved, ["opacity"])
    assert (bundle / "models" / "model.pt").read_bytes() == b"better"
    assert configs(bundle)["inference"]["classes"] == ["opacity"]


def test_a_workspace_is_not_turned_into_another(run: Path, tmp_path: Path) -> None:
    started, plain = tmp_path / "started", tmp_path / "plain"
    prepare_started_workspace(started, NAME, run, ["opacity"])
    prepare_workspace(plain, NAME, ROOT / "models" / "model.pt")
    with pytest.raises(DataError, match=r"began with --start; .* another --workspace"):
        prepare_workspace(started, NAME, ROOT / "models" / "model.pt")
    with pytest.raises(DataError, match=r"did not begin with --start .* --classes nodule"):
        prepare_started_workspace(started, NAME, run, ["nodule"])
    with pytest.raises(DataError, match="did not begin with --start"):
        prepare_started_workspace(plain, NAME, run, ["opacity"])


def test_what_cannot_be_started_from_is_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no finished pre-training run"):
        prepare_started_workspace(tmp_path / "work", NAME, tmp_path, ["opacity"])
    with pytest.raises(DataError, match="given twice"):
        prepare_started_workspace(tmp_path / "work", NAME, run, ["opacity", "opacity"])
    without = shutil.copytree(run, tmp_path / "run")
    (without / "models" / "encoder_decoder.safetensors").unlink()
    with pytest.raises(DataError, match="has trained no decoder"):
        prepare_started_workspace(tmp_path / "work", NAME, without, ["opacity"])
    assert not (tmp_path / "work").exists()
