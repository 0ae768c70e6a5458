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

__all__ = ["describe_machine", "ratios", "read_figures", "spread", "write_figures"]


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, lowest and highest of repeated measurements."""
    return {"median": median(values), "lowest": min(values), "highest": max(values)}


def ratios(old: Sequence[float], new: Sequence[float]) -> dict[str, float]:
    """Spread of old / new, round by round: what slows a whole round down cancels out."""
    return spread([a / b for a, b in zip(old, new, strict=True)])


def describe_machine() -> dict[str, Any]:
    """Processor, cores that may be used and versions; nothing that names the machine."""
    return {
        "processor": _processor().get("model name", platform.machine()),
        "bf16_instructions": [flag for flag in _processor().get("flags", "").split() if flag.endswith("_bf16")],
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def _processor() -> dict[str, str]:
    """What Linux tells of the first processor; elsewhere nothing."""
    path = Path("/proc/cpuinfo")
    first = path.read_text(encoding="utf-8").split("\n\n")[0] if path.exists() else ""
    pairs = (line.split(":", 1) for line in first.splitlines() if ":" in line)
    return {name.strip(): value.strip() for name, value in pairs}


def read_figures(path: Path) -> dict[str, Any]:
    """Reads the figures that a file has so far; none if there is no file.

    Raises:
        ValueError: the file is no JSON object, or its figures were taken on another machine.
    """
    if not path.exists():
        return {}
    try:
        figures = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: not a file of figures ({error}); give --out another name") from error
    if not isinstance(figures, dict) or figures.get("machine") != describe_machine():
        raise ValueError(f"{path}: its figures are not of this machine as it is now; give --out another name")
    return figures


def write_figures(path: Path, figures: Mapping[str, Any]) -> None:
    """Writes figures as JSON, whole or not at all; the folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    os.replace(temporary, path)
