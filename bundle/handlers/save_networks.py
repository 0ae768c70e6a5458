"""At the end of pre-training: what other stages and other people load."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ignite.engine import Engine, Events
from torch import nn

from bundle.networks.weights.checkpoint import save_weights

from .revision import git_revision

__all__ = ["SaveNetworks"]


class SaveNetworks:
    """Write parts of a network as safetensors, each with a card, when training is complete.

    Args:
        folder: where the files go; it is made.
        network: the trained network; may be wrapped for distributed training.
        parts: attributes of the network by file name: `{"encoder": ["image_encoder"]}` writes `encoder.safetensors`
            with the keys `image_encoder.*`; an empty list stands for the whole network.
        card: facts for the cards: method, preset, data, normalisation.
        evaluator: engine whose latest metrics go into the cards.
        tokenizer: folder of the tokenizer that the network was trained with; a copy goes to `tokenizer` beside the
            weights, so that they can be used without the data set.

    Raises:
        ValueError: when the network has no such attribute.
    """

    def __init__(
        self,
        folder: str | Path,
        network: nn.Module,
        parts: Mapping[str, list[str]],
        card: Mapping[str, Any],
        evaluator: Engine | None = None,
        tokenizer: str | Path | None = None,
    ) -> None:
        self.folder = Path(folder)
        self.network = getattr(network, "module", network)
        self.parts = dict(parts)
        self.card = dict(card)
        self.evaluator = evaluator
        self.tokenizer = tokenizer
        for name in {attribute for attributes in self.parts.values() for attribute in attributes}:
            if getattr(self.network, name, None) is None:
                raise ValueError(
                    f"the network has no '{name}' to save; it has {[n for n, _ in self.network.named_children()]}"
                )

    def attach(self, engine: Engine) -> None:
        """Register with a trainer."""
        engine.add_event_handler(Events.COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Write every part."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.tokenizer is not None:
            _copy_folder(Path(self.tokenizer), self.folder / "tokenizer")
        facts = {
            "metrics": self.evaluator.state.metrics if self.evaluator is not None else {},
            "iterations": engine.state.iteration,
            "git": git_revision(),
        }
        state = self.network.state_dict()
        for file, attributes in self.parts.items():
            prefixes = tuple(f"{name}." for name in attributes) or ("",)
            chosen = {key: value for key, value in state.items() if key.startswith(prefixes)}
            save_weights(chosen, self.folder / f"{file}.safetensors", self.card | facts | {"part": file})


def _copy_folder(source: Path, target: Path) -> None:
    """Copy the files of a folder, all or none; what was at the target gives way."""
    partial, replaced = (target.with_name(f".{target.name}.{state}") for state in ("partial", "replaced"))
    for left in (partial, replaced):
        shutil.rmtree(left, ignore_errors=True)
    shutil.copytree(source, partial)
    if target.exists():
        os.rename(target, replaced)  # a folder that is not empty can't be renamed over
    os.rename(partial, target)
    shutil.rmtree(replaced, ignore_errors=True)
