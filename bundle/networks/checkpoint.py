"""Network weights in and out: safetensors with a JSON card, strict reports, no unpickling."""

from __future__ import annotations

import json
import logging
import os
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from bundle.networks.errors import WeightsError
from bundle.networks.key_maps import KEY_MAPS, KeyMap, rename

__all__ = ["CARD_FIELDS", "LoadReport", "load_weights", "read_card", "read_weights", "save_weights"]

CARD_FIELDS = ("method", "preset", "data", "normalisation", "metrics", "git")
"""What every card states; a value may be null, a field may not be absent."""

_WRAPPERS = ("state_dict", "model_state_dict", "model")  # entries under which training checkpoints keep the weights
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
        card: `CARD_FIELDS` and whatever else describes the weights; JSON values only, no patient data.

    Returns:
        The path of the weights.

    Raises:
        ValueError: if the name does not end in `.safetensors`, or the card lacks a field or is not JSON.

    Example:
        >>> card = dict.fromkeys(CARD_FIELDS) | {"method": "g2d", "normalisation": {"mean": 0.5, "std": 0.25}}
        >>> save_weights(network, "runs/pretrain/encoder.safetensors", card)
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise ValueError(f"{path}: weights are written as safetensors; give a name that ends in .safetensors.")
    if absent := [field for field in CARD_FIELDS if field not in card]:
        raise ValueError(f"{path}: the card lacks {', '.join(absent)}; state them (null where they do not apply).")
    try:
        text = json.dumps(dict(card), indent=2, ensure_ascii=False) + "\n"
    except TypeError as error:
        raise ValueError(f"{path}: the card holds a value that JSON cannot express ({error}).") from error
    state = weights.state_dict() if isinstance(weights, nn.Module) else weights
    # Cloned because safetensors refuses tied tensors, which share memory.
    tensors = {_bare(name): tensor.detach().cpu().contiguous().clone() for name, tensor in state.items()}
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


def read_weights(path: str | Path) -> dict[str, torch.Tensor]:
    """Read the tensors of a weights file or training checkpoint, never running code that it may contain.

    Args:
        path: `.safetensors`, or a PyTorch file (`.pt`, `.pth`, ...), which may keep the weights in an entry
            `state_dict`, `model_state_dict` or `model` among others.

    Returns:
        Tensors on the CPU by name, prefixes of DDP (`module.`) and `torch.compile` taken off.

    Raises:
        WeightsError: if the file is absent, unreadable, holds more than data, or holds no tensors by name.
    """
    path = Path(path)
    if not path.is_file():
        raise WeightsError(f"{path}: there is no such weights file; check the path.")
    content = _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)
    for entry in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(entry), Mapping):
            content = content[entry]
            break
    tensors = content if isinstance(content, Mapping) else {}
    tensors = {_bare(str(name)): value for name, value in tensors.items() if isinstance(value, torch.Tensor)}
    if not tensors:
        raise WeightsError(f"{path}: it holds no tensors by name; give a state dict or a checkpoint with one.")
    return tensors


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
        state = _mapper(key_map)(state)
    target = module.module if isinstance(module, nn.parallel.DistributedDataParallel) else module
    fitting, report = _compare(state, target.state_dict(), str(path))
    if not fitting or (strict and not report.complete):
        hint = "choose the key map or prefix that fits" if not fitting else "or load with strict=False to accept that"
        raise WeightsError(f"Weights and network differ: {report.summary()}; give the matching file, {hint}.")
    target.load_state_dict(fitting, strict=False)
    _log.info(report.summary())
    return report


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


def _mapper(key_map: str | Mapping[str, str] | KeyMap) -> KeyMap:
    if isinstance(key_map, str):
        if key_map not in KEY_MAPS:
            raise ValueError(f"There is no key map {key_map!r}; take one of {', '.join(KEY_MAPS)}.")
        return KEY_MAPS[key_map]
    if isinstance(key_map, Mapping):
        return lambda state: rename(state, key_map)
    return key_map


def _bare(name: str) -> str:
    """Take off what DDP and `torch.compile` put before a name."""
    for wrapper in ("module.", "_orig_mod.", "module."):
        name = name.removeprefix(wrapper)
    return name


def _read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{path}: not a readable safetensors file ({error}); fetch or write it again.") from error


def _read_torch(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"{path}: it is damaged or holds Python objects beside tensors, which could run code when read; save its "
            "state dict alone as safetensors on a machine where you trust the file."
        ) from error
    except (OSError, EOFError, RuntimeError) as error:
        raise WeightsError(f"{path}: not a readable PyTorch file ({error}); fetch or write it again.") from error


def _write(path: Path, write: Callable[[Path], Any]) -> None:
    """Let `write` fill a temporary file beside `path`, then rename it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        write(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
