"""Reading files of weights, whoever wrote them, without running code that they may contain."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from bundle.networks.weights.errors import WeightsError

__all__ = ["bare_name", "read_weights"]

# Entries under which training checkpoints keep the weights; "objects" is that of our own, around "network".
_WRAPPERS = ("objects", "network", "state_dict", "model_state_dict", "model")


def read_weights(path: str | Path) -> dict[str, torch.Tensor]:
    """Read the tensors of a weights file or training checkpoint, never running code that it may contain.

    Args:
        path: `.safetensors`, or a PyTorch file (`.pt`, `.pth`, ...): the weights, or a training checkpoint that keeps
            them in an entry `state_dict`, `model_state_dict`, `model` or `network`, as those of this bundle do.

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
    tensors = content if isinstance(content, Mapping) else {}
    tensors = {bare_name(str(name)): value for name, value in tensors.items() if isinstance(value, torch.Tensor)}
    if not tensors:
        raise WeightsError(f"{path}: it holds no tensors by name; give a state dict or a checkpoint with one.")
    return tensors


def bare_name(name: str) -> str:
    """Take off what DDP (`module.`) and `torch.compile` (`_orig_mod.`) put before a tensor's name."""
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
