"""Network weights in and out: safetensors with a JSON card, and loads that report what matched."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from bundle.networks.weights.errors import WeightsError
from bundle.networks.weights.key_maps import KEY_MAPS, KeyMap, rename
from bundle.networks.weights.weights_file import bare_name, read_weights

__all__ = ["CARD_FIELDS", "LoadReport", "load_weights", "read_card", "save_weights"]

CARD_FIELDS = ("method", "preset", "data", "image_mean", "image_std", "metrics", "git")
"""What every card states; null where it was not given."""

_COUNTER = "num_batches_tracked"  # absent from files of old PyTorch versions and without effect on the output

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LoadReport:
    """What happened to each tensor when weights were loaded; names are the network's, after the key map.

    Attributes:
        source: the file.
        matched: loaded.
        missing: in the network, not in the file; kept as they were.
        unexpected: in the file, not in the network; ignored.
        mismatched: in both, with different shapes (stated in the entry); kept as they were.
    """

    source: str
    matched: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    mismatched: tuple[str, ...]

    @property
    def complete(self) -> bool:
        """Whether file and network hold the same tensors."""
        return not (self.missing or self.unexpected or self.mismatched)

    def summary(self) -> str:
        """One line: counts, and the first names of each group that is not as it should be."""
        parts = [f"{len(self.matched)} matched"]
        for group in ("missing", "unexpected", "mismatched"):
            names = getattr(self, group)
            shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
            parts.append(f"{len(names)} {group}" + (f" ({shown})" if names else ""))
        return f"{self.source}: " + "; ".join(parts)


def save_weights(weights: nn.Module | Mapping[str, torch.Tensor], path: str | Path, card: Mapping[str, Any]) -> Path:
    """Write weights as safetensors and their card as `<stem>.json` beside them.

    Both files are written under temporary names and renamed. The old card goes before the new weights come, so that no
    interruption leaves weights beside the card of others.

    Args:
        weights: a network (a DDP wrapper is taken off) or its state dict.
        path: target, ending in `.safetensors`; its folder is made.
        card: `CARD_FIELDS` and whatever else describes the weights; no patient data. A field that is absent becomes
            null, with a warning: what a long run has learned is not lost for it.

    Returns:
        The path of the weights.

    Raises:
        ValueError: if the name does not end in `.safetensors`, or the card holds what JSON cannot express.

    Example:
        >>> card = {"method": "g2d", "preset": "paper", "image_mean": 0.449, "image_std": 0.226, ...}
        >>> save_weights(network, "runs/pretrain/encoder.safetensors", card)
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise ValueError(f"{path}: weights are written as safetensors; give a name that ends in .safetensors.")
    text = _card_text(card, path)
    state = weights.state_dict() if isinstance(weights, nn.Module) else weights
    # Cloned because safetensors refuses tied tensors, which share memory.
    tensors = {bare_name(name): tensor.detach().cpu().contiguous().clone() for name, tensor in state.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    card_path = path.with_suffix(".json")
    card_path.unlink(missing_ok=True)
    _write(path, lambda temporary: save_file(tensors, temporary, metadata={"format": "pt"}))
    _write(card_path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
    return path


def read_card(path: str | Path) -> dict[str, Any]:
    """Read the card of a weights file.

    Args:
        path: the weights file.

    Returns:
        The card as it was given to `save_weights`.

    Raises:
        WeightsError: if the file has no readable card.
    """
    card = Path(path).with_suffix(".json")
    try:
        return json.loads(card.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WeightsError(
            f"{path}: there is no readable card {card.name} beside it; take both files from the run that wrote them."
        ) from error


def load_weights(
    module: nn.Module,
    path: str | Path,
    key_map: str | Mapping[str, str] | KeyMap | None = None,
    prefix: str | None = None,
    strict: bool = True,
) -> LoadReport:
    """Load a file into a network and report what matched.

    A first convolution of three channels is summed over them where the network takes one: the response to a grey image
    is that of the original to the image repeated three times.

    Args:
        module: the network, changed in place (a DDP wrapper is taken off).
        path: see `read_weights`.
        key_map: how the file's names become the network's: a name in `key_maps.KEY_MAPS`, prefixes old to new (names
            under none of them are left out), a function of the state dict, or None.
        prefix: take only the file's names that start with it, without it; applied before the key map.
        strict: if True, every tensor of the network must come from the file and none may be left over.

    Returns:
        The report, also logged.

    Raises:
        WeightsError: if the file cannot be read, if nothing in it fits, or if `strict` and anything is missing,
            unexpected or mismatched; the network is then unchanged.
        ValueError: if `key_map` is not a known name.

    Example:
        >>> load_weights(segmenter, "g2d.safetensors", key_map={"image_encoder.": "encoder.", "decoder.": "decoder."})
    """
    state = read_weights(path)
    if prefix is not None:
        state = rename(state, {prefix: ""})
    if key_map is not None:
        state = mapper_of(key_map)(state)
    target = module.module if isinstance(module, nn.parallel.DistributedDataParallel) else module
    fitting, report = _compare(state, target.state_dict(), str(path))
    if not fitting or (strict and not report.complete):
        hint = "choose the key map or prefix that fits" if not fitting else "or load with strict=False to accept that"
        raise WeightsError(f"Weights and network differ: {report.summary()}; give the matching file, {hint}.")
    target.load_state_dict(fitting, strict=False)
    _log.info(report.summary())
    return report


def _card_text(card: Mapping[str, Any], path: Path) -> str:
    if absent := [field for field in CARD_FIELDS if field not in card]:
        _log.warning("%s: the card does not state %s", path, ", ".join(absent))
    try:
        return json.dumps(dict.fromkeys(CARD_FIELDS) | dict(card), indent=2, ensure_ascii=False, default=_plain) + "\n"
    except TypeError as error:
        raise ValueError(f"{path}: the card holds a value that JSON cannot express ({error}).") from error


def _plain(value: Any) -> Any:
    """Numbers and arrays of numpy and torch, and paths, as JSON values."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} {value!r}")


def _compare(
    state: Mapping[str, torch.Tensor], own: Mapping[str, torch.Tensor], source: str
) -> tuple[dict[str, torch.Tensor], LoadReport]:
    """Sort the file's tensors into those that fit the network's and the rest."""
    fitting, mismatched = {}, []
    for name in own.keys() & state.keys():
        tensor = _fit(state[name], own[name].shape)
        if tensor.shape == own[name].shape:
            fitting[name] = tensor
        else:
            mismatched.append(f"{name} {tuple(tensor.shape)} for {tuple(own[name].shape)}")
    missing = [name for name in own if name not in state and not name.endswith(_COUNTER)]
    unexpected = [name for name in state if name not in own]
    groups = (sorted(group) for group in (fitting, missing, unexpected, mismatched))
    return fitting, LoadReport(source, *(tuple(group) for group in groups))


def _fit(tensor: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    """Sum a convolution [O, 3, k, k] over colour if [O, 1, k, k] is wanted."""
    if tensor.dim() == 4 and tensor.shape[1] == 3 and shape == (tensor.shape[0], 1, *tensor.shape[2:]):
        return tensor.float().sum(dim=1, keepdim=True).to(tensor.dtype)
    return tensor


def mapper_of(key_map: str | Mapping[str, str] | KeyMap) -> KeyMap:
    if isinstance(key_map, str):
        if key_map not in KEY_MAPS:
            raise ValueError(f"There is no key map {key_map!r}; take one of {', '.join(KEY_MAPS)}.")
        return KEY_MAPS[key_map]
    if isinstance(key_map, Mapping):
        return lambda state: rename(state, key_map)
    return key_map


def _write(path: Path, write: Callable[[Path], Any]) -> None:
    """Let `write` fill a temporary file beside `path`, then rename it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        write(temporary)
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)  # safetensors makes files that only their owner can read
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
