"""Figures: how several measurements become one, and the file that keeps them."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import torch

__all__ = ["describe_machine", "ratios", "spread", "write_figures"]


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, lowest and highest of repeated measurements."""
    return {"median": median(values), "lowest": min(values), "highest": max(values)}


def ratios(old: Sequence[float], new: Sequence[float]) -> dict[str, float]:
    """Spread of old / new, round by round: what slows a whole round down cancels out."""
    return spread([a / b for a, b in zip(old, new, strict=True)])


def describe_machine() -> dict[str, Any]:
    """Processor, cores that may be used and versions; nothing that names the machine."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "amx": torch.cpu._is_amx_tile_supported(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def write_figures(path: Path, figures: Mapping[str, Any]) -> None:
    """Puts figures into a JSON file, beside those that it has under other names; written whole or not at all.

    Args:
        path: the file; its folder is made.
        figures: by name.

    Raises:
        ValueError: the file is no JSON object, or its figures were taken on another machine.
    """
    kept: Any = {}
    if path.exists():
        try:
            kept = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{path}: not a file of figures ({error}); give --out another name") from error
        if not isinstance(kept, dict) or kept.get("machine", figures["machine"]) != figures["machine"]:
            raise ValueError(f"{path}: its figures are not of this machine as it is now; give --out another name")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps({**kept, **figures}, indent=2) + "\n", encoding="utf-8")
    os.replace(temporary, path)
