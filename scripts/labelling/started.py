"""A workspace whose network is the encoder and decoder of a pre-training run, with classes of the annotator's own."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser

from bundle.data.errors import DataError
from bundle.handlers.atomic import replacing
from bundle.inferers.pretraining_run import PretrainingRun
from bundle.networks.weights.transfer import transfer
from scripts.labelling.workspace import ROOT, WEIGHTS, link, renew_app

__all__ = ["prepare_started_workspace"]

_START = "start.json"
_PARTS = ("image_encoder", "decoder")
_ENCODER_DECODER = "models/encoder_decoder.safetensors"
_TISSUE = ("85756007", "Tissue", "85756007", "Tissue")  # what viewers write where no more is known


def prepare_started_workspace(folder: Path, name: str, run: Path, classes: Sequence[str]) -> Path:
    """Make or renew the app's folder with a network of encoder and decoder from pre-training, and a head for `classes`.

    As `prepare_workspace`; but the configs are the workspace's own: `inference.json`, `train.json` and `metadata.json`
    with the run's network and the classes, the others as links. The decoder's head is the run's where there is one
    class, and random otherwise. What the workspace began with is kept in it, so that the run may go.

    Args:
        folder: the workspace.
        name: of the model, as clients see it.
        run: folder of a finished run of `configs/pretrain.yaml` whose network has a decoder.
        classes: what is going to be annotated.

    Returns:
        The folder of the bundle in the workspace.

    Raises:
        DataError: the name or the classes can't be used, the run has no decoder, or the workspace began with something
            else.
        WeightsError: the folder holds no such run.
    """
    if len(set(classes)) < len(classes):
        raise DataError(f"--classes {' '.join(classes)}: one of them is given twice")
    bundle = folder / "model" / name
    begun: dict[str, Any] = {"run": str(run.resolve()), "classes": list(classes)}
    if not (bundle / WEIGHTS).is_file():
        begun["network"] = _network(run, classes)
        renew_app(folder, name)
        _write_configs(bundle, begun["network"])
        _write(bundle / _START, begun)
        _write_weights(bundle, run)
        return bundle
    before = _read(bundle / _START) if (bundle / _START).is_file() else {}
    if any(before.get(key) != value for key, value in begun.items()):
        raise DataError(
            f"{folder}: this workspace did not begin with --start {run} --classes {' '.join(classes)}; remove it, or "
            "give another --workspace"
        )
    renew_app(folder, name)
    _write_configs(bundle, before["network"])
    return bundle


def _network(run: Path, classes: Sequence[str]) -> dict[str, Any]:
    """Values for the ids `annotated_training.NETWORK` of a run's network, as JSON holds them."""
    trained = PretrainingRun(run)
    if not (run / _ENCODER_DECODER).is_file():
        raise DataError(f"--start {run}: this run has trained no decoder, for it has no {_ENCODER_DECODER}")
    config, card = trained.config, trained.card
    return {
        "classes": list(classes),
        "image_size": card["image_size"],
        "fit": (card.get("store") or {}).get("fit", "pad"),
        "image_mean": card["image_mean"],
        "image_std": card["image_std"],
        "image_name": card["image_encoder"],
        "image_encoder": _literal({**config["image_encoder"], "weights": None}, config),
        "decoder_channels": config["decoder_channels"],
    }


def _literal(value: Any, config: Mapping[str, Any]) -> Any:
    """A value of the config with the references in it replaced by what they refer to."""
    if isinstance(value, str) and value.startswith("@"):
        return _literal(config[value[1:]], config)
    if isinstance(value, Mapping):
        return {key: _literal(item, config) for key, item in value.items()}
    return [_literal(item, config) for item in value] if isinstance(value, list) else value


def _write_configs(bundle: Path, network: Mapping[str, Any]) -> None:
    folder = bundle / "configs"
    folder.mkdir(exist_ok=True)
    for path in (ROOT / "configs").iterdir():
        link(folder / path.name, path)
    inference = _read(ROOT / "configs" / "inference.json")
    codes = {name: inference["segment_codes"].get(name, _TISSUE) for name in network["classes"]}
    metadata = _read(ROOT / "configs" / "metadata.json")
    output = metadata["network_data_format"]["outputs"]["pred"]
    output["channel_def"] = {str(number): name for number, name in enumerate(["background", *network["classes"]])}
    output["num_channels"] = len(output["channel_def"])
    _write(folder / "inference.json", {**inference, **network, "segment_codes": codes})
    _write(folder / "train.json", {**_read(ROOT / "configs" / "train.json"), **network})
    _write(folder / "metadata.json", metadata)


def _write_weights(bundle: Path, run: Path) -> None:
    parser = ConfigParser()
    parser.read_config(str(bundle / "configs" / "inference.json"))
    torch.manual_seed(0)
    network = transfer(parser.get_parsed_content("network_def"), run / _ENCODER_DECODER, _PARTS)
    with replacing(bundle / WEIGHTS) as partial:
        torch.save(network.state_dict(), partial)


def _write(path: Path, content: Mapping[str, Any]) -> None:
    with replacing(path) as partial:
        partial.write_text(json.dumps(content, indent=4) + "\n", encoding="utf-8")


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
