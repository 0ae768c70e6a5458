"""The training that MONAI Label starts, from the configs that it reads, without its server."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from PIL import Image

from bundle.handlers.annotated_training import AnnotationError, publish
from bundle.networks.weights.checkpoint import save_weights
from bundle.networks.weights.errors import WeightsError

CONFIGS = Path(__file__).resolve().parents[2] / "configs"

TINY = """
image_size: 64
batch_size: 2
precision: fp32
image_encoder:
  _target_: bundle.networks.encoders.image_encoder.TimmEncoder
  name: resnet18
  channels: [8, 8, 8, 8]
  out_indices: [0, 1]
decoder_channels: [8, 8]
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A bundle's folder with a network that trains in a second, and four annotated films."""
    root = tmp_path / "bundle"
    shutil.copytree(CONFIGS, root / "configs")
    (root / "configs" / "tiny.yaml").write_text(TINY, encoding="utf-8")
    for number in range(4):
        pixels = np.full((64, 64), 40, np.uint8)
        pixels[20:40, 10 + number : 30] = 200
        Image.fromarray(pixels).save(tmp_path / f"film{number}.png")
        Image.fromarray((pixels > 100).astype(np.uint8)).save(tmp_path / f"mask{number}.png")
    return root


def train(root: Path, items: list[dict[str, str]], validation: list[dict[str, str]], start: Path | None = None) -> None:
    """What MONAI Label does with `train.json`."""
    config: dict[str, Any] = json.loads((root / "configs" / "train.json").read_text(encoding="utf-8"))
    handlers = [{"_target_": "CheckpointLoader", "load_path": str(start), "load_dict": {"model": "$@network"}}]
    config["overlays"].append("tiny.yaml")
    config |= {"bundle_root": str(root), "device": "cpu"}
    config["train"]["dataset"]["data"], config["train"]["trainer"]["max_epochs"] = items, 2
    config["train"]["handlers"] = handlers if start else []
    config["validate"]["dataset"]["data"] = validation
    parser = ConfigParser(config)
    parser.parse()
    parser.get_parsed_content("run::0")


def pairs(folder: Path, *numbers: int) -> list[dict[str, str]]:
    return [{"image": str(folder / f"film{n}.png"), "label": str(folder / f"mask{n}.png")} for n in numbers]


@pytest.mark.parametrize("validation", [(3,), ()])
def test_it_leaves_new_weights_and_their_card(root: Path, tmp_path: Path, validation: tuple[int, ...]) -> None:
    train(root, pairs(tmp_path, 0, 1, 2), pairs(tmp_path, *validation))
    state = torch.load(root / "models" / "model.pt", weights_only=True)
    assert all(isinstance(value, torch.Tensor) for value in state.values())
    (card,) = (root / "trained" / "segmentation").glob("*/models/best.json")
    assert json.loads(card.read_text(encoding="utf-8"))["data"] == {"name": "annotated", "images": 3}


def test_it_goes_on_from_the_weights_in_use(root: Path, tmp_path: Path) -> None:
    train(root, pairs(tmp_path, 0, 1), [])
    first = torch.load(root / "models" / "model.pt", weights_only=True)
    train(root, pairs(tmp_path, 0, 1), [], start=root / "models" / "model.pt")
    second = torch.load(root / "models" / "model.pt", weights_only=True)
    distance = sum(float((second[name].float() - first[name].float()).norm()) for name in first)
    assert 0 < distance < 0.2 * sum(float(value.float().norm()) for value in first.values())


def test_weights_of_another_network_are_refused(root: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.pt"
    torch.save({"image_encoder.conv1.weight": torch.zeros(1)}, other)
    with pytest.raises(RuntimeError) as error:
        train(root, pairs(tmp_path, 0, 1), [], start=other)
    assert "Weights and network differ" in causes(error.value)
    assert not (root / "models" / "model.pt").exists()


def test_without_labels_it_says_what_is_missing(root: Path) -> None:
    with pytest.raises(RuntimeError) as error:
        train(root, [], [])
    assert "save some labels, then train" in causes(error.value)
    assert issubclass(AnnotationError, ValueError)


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
