"""Where runs go side by side: a share of the cores each, and a GPU where there are any."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence

__all__ = ["default_parallel", "slots", "visible_gpus"]


def visible_gpus() -> list[str]:
    """The GPUs that this process may use, as `CUDA_VISIBLE_DEVICES` names them.

    NVIDIA's own tool counts them: torch takes seconds and most of a gigabyte only to be imported.
    """
    try:
        asked = ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"]
        listed = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.split()
    except (OSError, subprocess.CalledProcessError):
        return []
    allowed = os.environ.get("CUDA_VISIBLE_DEVICES")
    return listed if allowed is None else [name.strip() for name in allowed.split(",") if name.strip()]


def default_parallel(gpus: Sequence[str], cores: int) -> int:
    """One run a GPU; without GPUs one a core, but no more than four, for each needs a gigabyte or two."""
    return len(gpus) or min(cores, 4)


def slots(parallel: int, gpus: Sequence[str], cores: int) -> list[dict[str, str]]:
    """What the environment of each run side by side adds.

    Args:
        parallel: number of runs.
        gpus: names of GPUs; runs share them out in turn.
        cores: of this machine; each run computes on as many threads as are there for it.

    Example:
        >>> slots(2, ["0"], 8)[1]
        {'OMP_NUM_THREADS': '4', 'CUDA_VISIBLE_DEVICES': '0'}
    """
    threads = {"OMP_NUM_THREADS": str(max(1, cores // parallel))}
    return [
        threads | ({"CUDA_VISIBLE_DEVICES": gpus[number % len(gpus)]} if gpus else {}) for number in range(parallel)
    ]
