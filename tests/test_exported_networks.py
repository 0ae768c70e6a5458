"""MONAI's tools on the network of inference, and what they export: equal to the network in PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser, ckpt_export, load, onnx_export, verify_net_in_out
from onnxruntime import InferenceSession
from torch import nn

from scripts.export import main

TOLERANCE = 1e-4
"""Largest difference of logits, which are around 1; kernels sum in other orders."""


@pytest.fixture(scope="module")
def network(repository: Path) -> nn.Module:
    """The network of the config; its layers of normalisation have seen numbers, and its logits are around 1."""
    parser = ConfigParser()
    parser.read_config(str(repository / "configs" / "inference.json"))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = parser.get_parsed_content("network_def")
        made(torch.randn(2, 1, 64, 64))
    made.decoder.head.weight.data *= 300
    return made.eval()


@pytest.fixture(scope="module")
def weights(network: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bundle") / "models" / "model.pt"
    path.parent.mkdir()
    torch.save(network.state_dict(), path)
    return path


@pytest.fixture(scope="module")
def image() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).standard_normal((1, 1, 256, 256)).astype(np.float32))


def files(repository: Path) -> dict[str, Any]:
    configs = repository / "configs"
    return {"meta_file": str(configs / "metadata.json"), "config_file": str(configs / "inference.json")}


def assert_equal(found: torch.Tensor, network: nn.Module, image: torch.Tensor) -> None:
    with torch.no_grad():
        expected = network(image)
    assert found.shape == expected.shape == (1, 2, 256, 256)
    assert expected[:, 1].std() > 0.1
    assert (found - expected).abs().max() < TOLERANCE


def test_network_fits_the_metadata(repository: Path) -> None:
    verify_net_in_out("network_def", **files(repository), device="cpu", n=2)


def test_torchscript_equals(
    repository: Path, network: nn.Module, weights: Path, image: torch.Tensor, tmp_path: Path
) -> None:
    out = tmp_path / "model.ts"
    shape = [1, 1, 256, 256]
    ckpt_export("network_def", str(out), str(weights), **files(repository), use_trace=True, input_shape=shape)
    assert_equal(torch.jit.load(out)(image), network, image)


def test_onnx_equals(repository: Path, network: nn.Module, weights: Path, image: torch.Tensor, tmp_path: Path) -> None:
    out = tmp_path / "model.onnx"
    onnx_export(
        "network_def",
        str(out),
        str(weights),
        **files(repository),
        use_trace=True,
        input_shape=[1, 1, 256, 256],
    )
    session = InferenceSession(str(out), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {session.get_inputs()[0].name: image.numpy()})
    assert_equal(torch.from_numpy(found), network, image)


def test_program_equals_for_any_number_of_images(
    network: nn.Module, weights: Path, image: torch.Tensor, tmp_path: Path
) -> None:
    out = tmp_path / "model.pt2"
    assert main(["program", "--weights", str(weights), "--out", str(out)]) == 0
    program: Callable[[torch.Tensor], torch.Tensor] = torch.export.load(out).module()
    assert_equal(program(image), network, image)
    assert program(image.repeat(3, 1, 1, 1)).shape == (3, 2, 256, 256)


def test_monai_loads_the_bundle(
    repository: Path, network: nn.Module, weights: Path, image: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`load` looks for the folder of a name, with its configs and weights."""
    (weights.parents[1] / "configs").symlink_to(repository / "configs")
    found = load(weights.parents[1].name, bundle_dir=str(weights.parents[2]), workflow_type="inference", device="cpu")
    with torch.no_grad():
        assert_equal(found.eval()(image), network, image)
