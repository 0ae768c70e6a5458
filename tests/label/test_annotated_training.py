"""The training that MONAI Label starts, from the configs that it reads, without its server."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import monai.bundle
import pytest
import torch
from annotated import train, write_pairs

from bundle.handlers.annotated_training import NETWORK, AnnotationError, publish
from bundle.networks.weights.checkpoint import save_weights
from bundle.networks.weights.errors import WeightsError

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
CONFIG_FILES = ("train.json", "inference.json")

TINY = {
    "image_size": 64,
    "image_encoder": {
        "_target_": "bundle.networks.encoders.image_encoder.TimmEncoder",
        "name": "resnet18",
        "channels": [8, 8, 8, 8],
        "out_indices": [0, 1],
    },
    "decoder_channels": [8, 8],
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A bundle's folder."""
    root = tmp_path / "bundle"
    shutil.copytree(CONFIGS, root / "configs")
    return root


@pytest.mark.parametrize("validated", [1, 0])
def test_it_leaves_new_weights_and_their_card(root: Path, tmp_path: Path, validated: int) -> None:
    items = write_pairs(tmp_path, 4)
    train(root, items[:3], items[3 : 3 + validated], values=TINY)
    state = torch.load(root / "models" / "model.pt", weights_only=True)
    assert all(isinstance(value, torch.Tensor) for value in state.values())
    (card,) = (root / "trained" / "segmentation").glob("*/models/best.json")
    assert json.loads(card.read_text(encoding="utf-8"))["data"] == {"name": "annotated", "images": 3}


def test_it_goes_on_from_the_weights_in_use(root: Path, tmp_path: Path) -> None:
    items = write_pairs(tmp_path, 2)
    train(root, items, values=TINY)
    first = torch.load(root / "models" / "model.pt", weights_only=True)
    train(root, items, start=root / "models" / "model.pt", values=TINY)
    second = torch.load(root / "models" / "model.pt", weights_only=True)
    distance = sum(float((second[name].float() - first[name].float()).norm()) for name in first)
    assert 0 < distance < 0.2 * sum(float(value.float().norm()) for value in first.values())


def test_weights_of_another_network_are_refused(root: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.pt"
    torch.save({"image_encoder.conv1.weight": torch.zeros(1)}, other)
    with pytest.raises(RuntimeError) as error:
        train(root, write_pairs(tmp_path, 2), start=other, values=TINY)
    assert "Weights and network differ" in causes(error.value)
    assert not (root / "models" / "model.pt").exists()


def test_without_labels_it_says_what_is_missing(root: Path) -> None:
    with pytest.raises(RuntimeError) as error:
        train(root, [], values=TINY)
    assert "save some labels, then train" in causes(error.value)
    assert issubclass(AnnotationError, ValueError)


def test_network_is_that_of_inference_for_tools_that_ask_for_nothing(tmp_path: Path, repository: Path) -> None:
    """`monai.bundle.load` takes `train.json` where it is not told which config."""
    (tmp_path / "cxr").symlink_to(repository)
    network = monai.bundle.load("cxr", bundle_dir=tmp_path, device="cpu")
    other = monai.bundle.load("cxr", bundle_dir=tmp_path, device="cpu", workflow_type="inference")
    films = torch.rand(1, 1, 64, 64)
    with torch.no_grad():
        assert torch.equal(network.eval()(films), other.eval()(films))
    train, inference = (json.loads((CONFIGS / name).read_text(encoding="utf-8")) for name in CONFIG_FILES)
    assert {name: train[name] for name in NETWORK} == {name: inference[name] for name in NETWORK}


def test_published_weights_replace_the_old_file_whole(tmp_path: Path) -> None:
    best, used = tmp_path / "best.safetensors", tmp_path / "models" / "model.pt"
    save_weights({"layer.weight": torch.ones(2)}, best, {"method": "test"})
    publish(best, used)
    assert torch.load(used, weights_only=True)["layer.weight"].tolist() == [1, 1]
    with pytest.raises(WeightsError):
        publish(tmp_path / "absent.safetensors", used)
    assert [path.name for path in used.parent.iterdir()] == ["model.pt"]


def causes(error: BaseException | None) -> str:
    texts = []
    while error is not None:
        texts.append(str(error))
        error = error.__cause__ or error.__context__
    return " | ".join(texts)
