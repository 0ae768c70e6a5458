"""What a finished pre-training run left, read from its folder alone: network, tokenizer, card."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser
from torch import nn

from bundle.data.errors import DataError
from bundle.data.tokenizer_files import load_tokenizer, tokenizer_sha256
from bundle.networks.weights.checkpoint import load_weights, read_card
from bundle.networks.weights.errors import WeightsError

__all__ = ["PretrainingRun"]

_WEIGHTS = "models/model.safetensors"
_TOKENIZER = "models/tokenizer"
_SAVED, _TRAINED = "saved_network", "network_def"
_NO_VALUES = ("architectures", "transformers_version", "_name_or_path")


class PretrainingRun:
    """The folder of a finished run of `configs/pretrain.yaml`. It may have been moved; its store is not needed.

    The run's `config.yaml` is evaluated as it was in training, so open only folders of people you trust.

    Args:
        folder: the run's folder, with `config.yaml` and `models/`.

    Attributes:
        config: the config of the run.
        card: what the run wrote beside its weights.

    Raises:
        WeightsError: if the folder holds no finished run with image and text encoder.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        for name in ("config.yaml", _WEIGHTS):
            if not (self.folder / name).is_file():
                raise WeightsError(
                    f"{folder}: this is no finished pre-training run, for it has no {name}; give the folder "
                    "runs/pretrain/NAME of one."
                )
        self.config: dict[str, Any] = dict(ConfigParser.load_config_file(self.folder / "config.yaml"))
        self.card = read_card(self.folder / _WEIGHTS)
        if "text_encoder" not in self._definition() or "tokenizer" not in self.card:
            raise WeightsError(
                f"{folder}: the network of this run has no text encoder; give a run of configs/pretrain.yaml."
            )

    @property
    def precision(self) -> str:
        """Precision of the network in training."""
        return str(self.config.get("precision", "fp32"))

    @property
    def max_length(self) -> int:
        """Most tokens of a text in training."""
        lengths = (self.config.get("max_length"), (self.card.get("store") or {}).get("max_length"))
        return min(length for length in (*lengths, 512) if isinstance(length, int))

    def network(self, precision: str) -> nn.Module:
        """The trained network, in eval mode, on the CPU, without gradients.

        Args:
            precision: what it will run in; decides how frozen layers are kept.

        Raises:
            WeightsError: if weights and config do not fit.
        """
        parser = ConfigParser(self._standalone(precision))
        network = parser.get_parsed_content(_SAVED if _SAVED in self.config else _TRAINED)
        load_weights(network, self.folder / _WEIGHTS)
        return network.eval().requires_grad_(False)

    def tokenizer(self, source: str | os.PathLike[str] | None = None) -> Any:
        """The run's tokenizer.

        Args:
            source: local folder or hub name; None: what the run saved with its weights.

        Raises:
            DataError: if it cannot be loaded or is not the one of the run.
        """
        place = self.folder / _TOKENIZER if source is None else source
        if source is None and not Path(place).is_dir():
            raise DataError(f"{self.folder}: the run has no {_TOKENIZER}; give `tokenizer`, such as STORE/tokenizer")
        tokenizer = load_tokenizer(os.fspath(place))
        if tokenizer_sha256(tokenizer) != self.card["tokenizer"]["sha256"]:
            raise DataError(f"tokenizer {place}: is not the one that {self.folder} was trained with")
        return tokenizer

    def _definition(self) -> Mapping[str, Any]:
        """The config of the network that was saved, references to other ids followed."""
        definition: Any = f"@{_SAVED}" if _SAVED in self.config else f"@{_TRAINED}"
        while isinstance(definition, str) and definition.startswith("@"):
            definition = self.config.get(definition[1:])
        return definition if isinstance(definition, Mapping) else {}

    def _standalone(self, precision: str) -> dict[str, Any]:
        """The config with everything in it replaced that would read the store or download weights."""
        config = copy.deepcopy(self.config)
        config |= {
            "vocab_size": self.card["tokenizer"]["vocab_size"],
            "image_weights": None,
            "precision": precision,
        }
        for name in ("image_encoder", "frozen_image", "frozen_text"):
            if isinstance(config.get(name), dict) and "weights" in config[name]:
                config[name]["weights"] = None
        if values := self.card.get("text_encoder"):
            config["text_source"] = _family_values(values)
        return config


def _family_values(values: Mapping[str, Any]) -> dict[str, Any]:
    """Those values of a saved configuration that its family has; published ones often hold more."""
    from transformers import CONFIG_MAPPING

    kind = values.get("model_type", "bert")
    known = CONFIG_MAPPING[kind]().to_dict() if kind in CONFIG_MAPPING else CONFIG_MAPPING["bert"]().to_dict()
    return {name: value for name, value in values.items() if name in known and name not in _NO_VALUES}
