"""The start of a stage: parts of its network taken over from weights of another."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor, nn

from bundle.networks.weights.checkpoint import LoadReport, load_weights, mapper_of, read_card
from bundle.networks.weights.errors import WeightsError
from bundle.networks.weights.key_maps import KeyMap

__all__ = ["start_card", "transfer"]

Network = TypeVar("Network", bound=nn.Module)

_HEAD = "decoder.head."

_log = logging.getLogger(__name__)


def transfer(
    network: Network,
    weights: str | Path | None,
    parts: Sequence[str],
    key_map: str | Mapping[str, str] | KeyMap | None = None,
    keep_head: bool = True,
) -> Network:
    """Load some parts of a network from a file; the other parts, and what else the file holds, are left alone.

    Every tensor of these parts must be in the file with its shape, and no other under their names. The exception is the
    decoder's head (`decoder.head.*`), whose channels are the classes of a task: where it does not fit, or is not to be
    kept, it stays as it was built, and the log says so.

    Args:
        network: changed in place.
        weights: `encoder.safetensors`, `encoder_decoder.safetensors` or `model.safetensors` of pre-training, or any
            other file that `load_weights` reads; none: nothing is loaded.
        parts: children of the network, such as `["image_encoder", "decoder"]`, which bear the same names in the file;
            empty: nothing is loaded.
        key_map: how the file's names become ours, see `load_weights`. A file or key map that gives the names of one
            part without the part's own (`resnet` and `mgca` give those of a `TimmEncoder`) serves that part alone.
        keep_head: whether the decoder's head is taken over if it fits.

    Returns:
        The network itself.

    Raises:
        WeightsError: if the file cannot be read or a part does not fit, with what matched and what did not; the network
            is then unchanged.
        ValueError: if the network has no such part, or `key_map` is not a known name.

    Example:
        >>> transfer(segmenter, "runs/pretrain/g2d/models/encoder_decoder.safetensors", ["image_encoder", "decoder"])
        >>> transfer(classifier, "resnet50.pth", ["image_encoder"], key_map="resnet")
    """
    if weights is None or not parts:
        return network
    chosen = _chosen(network, parts)
    before = {name: tensor.clone() for name, tensor in chosen.state_dict().items()}
    select = _selection(before.keys(), parts, mapper_of(key_map or dict), keep_head)
    report = load_weights(chosen, weights, key_map=select, strict=False)
    wrong = [name for name in (*report.missing, *report.unexpected, *report.mismatched) if not name.startswith(_HEAD)]
    if wrong:
        chosen.load_state_dict(before)
        raise WeightsError(
            f"{', '.join(parts)} cannot be taken from these weights, which are of another network: {report.summary()}; "
            "give weights of the same encoder and decoder, or the key map that fits."
        )
    _tell_of_head(report, before.keys())
    return network


def start_card(weights: str | Path | None) -> dict[str, Any]:
    """What is known about the weights that a stage starts from: the card that `save_weights` put beside them.

    Args:
        weights: the weights file, or none.

    Returns:
        The card; empty without weights, or where they have no card, as those of other people have none.

    Raises:
        WeightsError: if there is a card that cannot be read.
    """
    if weights is None or Path(weights).suffix != ".safetensors":
        return {}
    return read_card(weights) if Path(weights).with_suffix(".json").is_file() else {}


def _chosen(network: nn.Module, parts: Sequence[str]) -> nn.ModuleDict:
    """The parts by name, as a network of their own."""
    children = dict(network.named_children())
    if unknown := [name for name in parts if name not in children]:
        raise ValueError(
            f"{type(network).__name__} has no part {unknown[0]!r} to load; give a list of some of "
            f"{', '.join(children)}."
        )
    return nn.ModuleDict({name: children[name] for name in parts})


def _selection(own: Collection[str], parts: Sequence[str], mapper: KeyMap, keep_head: bool) -> KeyMap:
    """A key map that goes on from `mapper` to the names of the parts and leaves out all others.

    A file with none of these names keeps its own, so that the error can list them.
    """

    def select(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        mapped = mapper(state)
        only = f"{parts[0]}."
        if len(parts) == 1 and any(only + name in own for name in mapped):
            mapped = {only + name: tensor for name, tensor in mapped.items()}
        names = tuple(f"{part}." for part in parts)
        selected = {name: tensor for name, tensor in mapped.items() if name.startswith(names)}
        if not keep_head:
            selected = {name: tensor for name, tensor in selected.items() if not name.startswith(_HEAD)}
        return selected or mapped

    return select


def _tell_of_head(report: LoadReport, own: Collection[str]) -> None:
    head = [name for name in own if name.startswith(_HEAD)]
    if left := sorted(set(head) - set(report.matched)):
        shapes = "; ".join(entry for entry in report.mismatched if entry.startswith(_HEAD))
        reason = f"the file has {shapes}" if shapes else "it is not in the file or was not to be kept"
        _log.info("%s: %s stay as built: %s", report.source, ", ".join(left), reason)
