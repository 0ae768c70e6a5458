from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest
from monai.bundle import ConfigParser, verify_metadata, verify_net_in_out
from monai.bundle.properties import MetaProperties
from monai.utils import BundleProperty, BundlePropertyConfig

SCHEMA = Path(__file__).with_name("metadata_schema.json")


@pytest.fixture(scope="module")
def metadata(repository: Path) -> dict[str, Any]:
    return json.loads((repository / "configs" / "metadata.json").read_text(encoding="utf-8"))


def pins(repository: Path) -> dict[str, str]:
    """Version of each package in the constraints, by lower-case name."""
    lines = (repository / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return dict(re.fullmatch(r"(\S+)==(\S+)", line.lower()).groups() for line in lines if not line.startswith("#"))


def written(folder: Path, metadata: dict[str, Any]) -> str:
    path = folder / "metadata.json"
    path.write_text(json.dumps(metadata), encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("name", ["metadata.json", "configs/metadata.json"])
def test_monai_verifies_the_metadata(repository: Path, name: str) -> None:
    verify_metadata(meta_file=str(repository / name), filepath=str(SCHEMA))


def test_copies_are_equal_and_real(repository: Path) -> None:
    root, configs = repository / "metadata.json", repository / "configs" / "metadata.json"
    assert not root.is_symlink()
    assert not configs.is_symlink()
    assert root.read_bytes() == configs.read_bytes(), "run: cp configs/metadata.json metadata.json"


@pytest.mark.parametrize("key", json.loads(SCHEMA.read_text(encoding="utf-8"))["required"])
def test_a_missing_entry_is_refused(metadata: dict[str, Any], tmp_path: Path, key: str) -> None:
    without = {name: value for name, value in metadata.items() if name != key}
    with pytest.raises(ValueError, match=f"'{key}' is a required property|must provide the `{key}` field"):
        verify_metadata(meta_file=written(tmp_path, without), filepath=str(SCHEMA))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("supported_apps",), ["monai-label"]),
        (("version",), "first"),
        (("network_data_format", "inputs", "image", "num_channels"), "1"),
        (("network_data_format", "inputs", "image", "spatial_shape"), ["__import__('os')"]),
        (("network_data_format", "outputs", "pred", "value_range"), [0]),
        (("report_encoder_data_format", "inputs"), {}),
    ],
)
def test_a_wrong_entry_is_refused(metadata: dict[str, Any], tmp_path: Path, path: tuple[str, ...], value: Any) -> None:
    wrong = copy.deepcopy(metadata)
    parent = wrong
    for key in path[:-1]:
        parent = parent[key]
    parent[path[-1]] = value
    with pytest.raises(ValueError, match="Failed validating"):
        verify_metadata(meta_file=written(tmp_path, wrong), filepath=str(SCHEMA))


def test_properties_of_the_runner_are_there(repository: Path) -> None:
    parser = ConfigParser()
    parser.read_meta(str(repository / "configs" / "metadata.json"))
    for name, rule in MetaProperties.items():
        assert parser.get(rule[BundlePropertyConfig.ID]) is not None, (name, rule[BundleProperty.DESC])


def test_network_that_fits_the_data_format(repository: Path, tmp_path: Path) -> None:
    verify_net_in_out("network_def", **network(repository, tmp_path, channels=2))


def test_network_with_other_channels_is_refused(repository: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="output channel number `3` doesn't match: `2`"):
        verify_net_in_out("network_def", **network(repository, tmp_path, channels=3))


def network(repository: Path, folder: Path, channels: int) -> dict[str, Any]:
    """Arguments that verify a one-layer network with so many output channels on 64 x 64 pixels."""
    layer = {"_target_": "torch.nn.Conv2d", "in_channels": 1, "out_channels": channels, "kernel_size": 1}
    config = folder / "inference.json"
    config.write_text(json.dumps({"network_def": layer}), encoding="utf-8")
    metadata = repository / "configs" / "metadata.json"
    return {"meta_file": str(metadata), "config_file": str(config), "device": "cpu", "n": 2}


def test_annotation_server_finds_its_keys_and_labels(metadata: dict[str, Any]) -> None:
    """MONAI Label takes the first input as the image and the labels from the first output's channels."""
    ports = metadata["network_data_format"]
    image, prediction = next(iter(ports["inputs"])), next(iter(ports["outputs"]))
    assert (image, prediction) == ("image", "pred")
    assert len(ports["inputs"][image]["spatial_shape"]) == 2
    labels = {name: int(index) for index, name in ports["outputs"][prediction]["channel_def"].items()}
    assert labels == {"background": 0, "lung": 1}
    assert ports["outputs"][prediction]["num_channels"] == len(labels)


def test_versions_are_the_pinned_ones(repository: Path, metadata: dict[str, Any]) -> None:
    pinned = pins(repository)
    base = {"monai": "monai_version", "torch": "pytorch_version", "numpy": "numpy_version"}
    assert {name: metadata[key] for name, key in base.items()} == {name: pinned[name] for name in base}
    listed = re.findall(r"^[\w.-]+", (repository / "requirements.txt").read_text(encoding="utf-8"), re.MULTILINE)
    others = {name: pinned[name.lower()] for name in listed if name not in base}
    assert metadata["required_packages_version"] == others


def test_changelog_holds_the_entries_of_the_changelog_file(repository: Path, metadata: dict[str, Any]) -> None:
    text = (repository / "CHANGELOG.md").read_text(encoding="utf-8")
    headings = r"^## \[(\d+\.\d+\.\d+)\] - \d{4}-\d{2}-\d{2}$"
    _, *parts = re.split(headings, text, flags=re.MULTILINE)
    releases = {version: entries(body) for version, body in zip(parts[::2], parts[1::2], strict=True)}
    assert metadata["changelog"] == releases
    assert metadata["version"] == next(iter(releases)), "the newest release is the version of the bundle"


def entries(body: str) -> str:
    """The entries of one release on one line: no headings, no bullets, no line breaks."""
    lines = [line for line in body.splitlines() if not line.startswith("#")]
    return " ".join(re.sub(r"^- ", "", line.strip()) for line in lines if line.strip())
