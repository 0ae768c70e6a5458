"""Stages on a frozen encoder and an Adaptor, and the baselines beside them, from the weights of one run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from supervised_runs import SMALL, UNDRAWN, Stage, results_of, supervised
from workflows import started

from bundle.networks.encoders.frozen_image import PyramidTokens
from bundle.networks.encoders.image_encoder import TimmEncoder
from bundle.networks.nets.adaptor import Adaptor
from bundle.networks.weights.checkpoint import save_weights

CLASSIFY = ("train", "train_classification", "adapted_classification")
CACHED = ("train", "train_classification", "linear_cached", "adapted_classification", "adapted_cached")
SEGMENT = ("train", "adapted_segmentation", "adapted_segmentation_unet")
TINY: dict[str, Any] = {
    "adaptor::heads": 2,
    "adaptor::feedforward": 12,
    "frozen_image": {"_target_": "bundle.networks.encoders.frozen_image.PyramidTokens", "encoder": "@image_encoder"},
    "max_epochs": 2,
}
NO_ADAPTOR = {key: value for key, value in TINY.items() if not key.startswith("adaptor::")}


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights as a pre-training run leaves them, of two layers and without layers."""
    torch.manual_seed(1)
    options = {
        key: value for key, value in SMALL["image_encoder"].items() if key not in ("_target_", "name", "weights")
    }
    encoder = PyramidTokens(TimmEncoder("resnet18", **options))
    folder = tmp_path_factory.mktemp("start")
    for name, layers in (("model", 2), ("projection", 0)):
        adaptor = Adaptor(encoder.width, 20, width=16, layers=layers, heads=2, feedforward=12)
        state = {f"image_encoder.{key}": value for key, value in encoder.state_dict().items()}
        state |= {f"adaptor.{key}": value for key, value in adaptor.state_dict().items()}
        card = {
            "width": 16,
            "text_encoder": {"hidden_size": 20},
            "image_encoder": "resnet18",
            "image_mean": 0.4,
            "image_std": 0.3,
        }
        save_weights(state | {"text_encoder.bias": torch.zeros(1)}, folder / f"{name}.safetensors", card)
    return folder


CASES: dict[str, tuple[tuple[str, ...], dict[str, Any], tuple[str, ...]]] = {
    "classification": (CLASSIFY, TINY, ("image_encoder", "adaptor")),
    "cached": (CACHED, TINY, ("image_encoder", "adaptor")),
    "cached, linear head": ((*CACHED, "head_linear"), TINY, ("image_encoder", "adaptor")),
    "cached, no adaptor": ((*CACHED, "baseline_no_adaptor"), NO_ADAPTOR, ("image_encoder",)),
    "cached, random adaptor": ((*CACHED, "baseline_random_adaptor"), TINY, ("image_encoder",)),
    "cached, projection": ((*CACHED, "baseline_projection"), TINY, ("image_encoder", "adaptor")),
    "segmentation": (SEGMENT, TINY, ("image_encoder", "adaptor")),
    "segmentation, no adaptor": ((*SEGMENT, "baseline_no_adaptor"), NO_ADAPTOR, ("image_encoder",)),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_a_stage_trains_what_is_on_top_alone(case: str, start: Path, phantoms: Path, tmp_path: Path) -> None:
    configs, values, taken = CASES[case]
    weights = start / ("projection.safetensors" if "projection" in case else "model.safetensors")
    given = {"start": str(weights), **values, **UNDRAWN}
    with supervised(Stage(configs, "", ""), phantoms, tmp_path, given) as made:
        made.run()
        assert made.parser.get_parsed_content("image_mean") == 0.4
    task = "segmentation" if "segmentation" in case else "classification"
    folder = tmp_path / task / "adapted"
    assert results_of(folder)["metrics"]
    before, after = load_file(weights), load_file(folder / "models" / "best.safetensors")
    parts = {key.split(".")[0] for key in after}
    assert parts == {"image_encoder", "adaptor", "head" if task == "classification" else "decoder"} - (
        {"adaptor"} if "no adaptor" in case else set()
    )
    for key, value in after.items():
        if key.split(".")[0] in taken:
            assert torch.equal(value, before[key]), key


@pytest.mark.parametrize(
    "overlay", ["encoder_dinov2_s14", "encoder_dinov2_b14", "encoder_autoencoder", "encoder_resnet50"]
)
def test_encoders_of_the_overlays_fit_their_networks(overlay: str, phantoms: Path, tmp_path: Path) -> None:
    segment = {"encoder_autoencoder": "_autoencoder", "encoder_resnet50": "_unet"}.get(overlay)
    configs = ("train", "adapted_segmentation", *([f"adapted_segmentation{segment}"] if segment else []), overlay)
    given = {"dataset_dir": str(phantoms), "output_root": str(tmp_path), "device": "$torch.device('meta')"}
    with torch.device("meta"), started(configs, given) as made:
        network = made.parser.get_parsed_content("network_def")
        assert network(torch.zeros(2, 1, 224, 224)).shape == (2, 1, 224, 224)
        mean, std = (made.parser.get_parsed_content(f"image_{name}") for name in ("mean", "std"))
    if overlay == "encoder_autoencoder":
        assert ((0 - mean) / std, (1 - mean) / std) == (-1024, 1024)
