"""The training that MONAI Label starts: pairs of image and label, and weights that replace those it began with."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigWorkflow

from bundle.networks.weights.weights_file import read_weights

from .atomic import replacing
from .run_folder import running_parser

__all__ = ["NETWORK", "AnnotationError", "publish", "train_annotated"]

NETWORK = (
    "classes",
    "image_size",
    "fit",
    "image_mean",
    "image_std",
    "image_name",
    "image_encoder",
    "decoder_channels",
)
"""Ids that say which network `inference.json` has and what it sees; `train.json` has them with the same values."""

logger = logging.getLogger(__name__)


class AnnotationError(ValueError):
    """There is nothing to train on."""


def train_annotated(overlays: Sequence[str]) -> None:
    """Train the bundle's own configs on what MONAI Label has put into the calling one.

    MONAI Label fills a config with items `{image, label}` under `train::dataset::data` and `validate::dataset::data`,
    epochs under `train::trainer::max_epochs`, a `device`, and a `CheckpointLoader` with the weights to begin with at
    the head of `train::handlers`; then it evaluates the list `run`. These five, and the ids of `NETWORK`, go into a
    workflow of the `overlays`, whose own `run` trains. Weights are taken over strictly, see `transfer`; all but a head
    of other classes must fit.

    Without items for validation the training items validate: the best epoch is then the one that knows them best.

    Args:
        overlays: files of the bundle's folder `configs`, merged from left to right.

    Raises:
        AnnotationError: nothing has been annotated.
        WeightsError: the weights are of another network.

    Example:
        >>> config = {"run": ["$train_annotated(['train.yaml', 'annotate.yaml'])"]}
    """
    given = running_parser()
    root = Path(given.get_parsed_content("bundle_root"))
    items = _items(given["train"]["dataset"]["data"])
    if not items:
        raise AnnotationError("no image has a label of the kind 'final' yet: save some labels, then train")
    validation = _items(given["validate"]["dataset"]["data"]) or items
    logger.info("training on %d annotated images, validating on %d", len(items), len(validation))
    values = {
        **{name: given[name] for name in NETWORK},
        "bundle_root": str(root),
        "device": torch.device(given.get_parsed_content("device")),
        "start": _start(given["train"]["handlers"]),
        "train::dataset::data": items,
        "validate::dataset::data": validation,
        "max_epochs": given["train"]["trainer"]["max_epochs"],
    }
    files = [str(root / "configs" / name) for name in overlays]
    workflow = ConfigWorkflow(files, logging_file=False, run_id="run", **values)
    workflow.initialize()
    workflow.run()
    workflow.finalize()


def publish(weights: str | Path, path: str | Path) -> None:
    """Put weights where MONAI's tools look for them, as a PyTorch file with a state dict.

    Args:
        weights: the file that `BestNetwork` has left.
        path: such as `models/model.pt`; whoever reads it meanwhile has the old file or the new one.

    Raises:
        WeightsError: if the weights can't be read.
    """
    state = read_weights(weights)
    with replacing(path) as partial:
        torch.save(state, partial)
    logger.info("%s is in use now as %s", weights, path)


def _items(pairs: Sequence[Mapping[str, Any]] | None) -> list[dict[str, Any]]:
    return [{"image": pair["image"], "label": pair["label"], "index": n} for n, pair in enumerate(pairs or [])]


def _start(handlers: Sequence[Mapping[str, Any]]) -> str | None:
    """Weights that MONAI Label wants to be loaded; none where it was asked not to."""
    return next((entry["load_path"] for entry in handlers if entry["_target_"] == "CheckpointLoader"), None)
