"""Peak memory of a training step, in a process of its own."""

from __future__ import annotations

import multiprocessing
import resource
import sys
from concurrent.futures import ProcessPoolExecutor
from typing import NamedTuple

import torch

from scripts.benching.variants import Settings, build_step

__all__ = ["Peak", "measure_peak", "peak_of_variant"]

_STEPS = 2  # the optimiser has its moments only from the second on
_RSS_UNIT = 1 if sys.platform == "darwin" else 1024


class Peak(NamedTuple):
    """Memory of one process, in bytes.

    Attributes:
        peak: the most that the process held or, on CUDA, that its tensors took on the device.
        libraries: what of it was there before the network was built.
    """

    peak: int
    libraries: int


def measure_peak(name: str, settings: Settings) -> Peak:
    """Runs a variant in a fresh process.

    Call it before networks are built here: until it does more, a child's peak is that of the process it came from.

    Args:
        name: of the variant.
        settings: what all variants share.
    """
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(peak_of_variant, name, settings).result()


def peak_of_variant(name: str, settings: Settings) -> Peak:
    """Takes steps and tells the peak of this process."""
    torch.set_num_threads(settings.threads)
    libraries = _peak_so_far(settings.device)
    step = build_step(name, settings)
    for _ in range(_STEPS):
        step.trainer.run()
    return Peak(_peak_so_far(settings.device), libraries)


def _peak_so_far(device: str) -> int:
    if device == "cuda":
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _RSS_UNIT
