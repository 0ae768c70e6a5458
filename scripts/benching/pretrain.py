"""Training steps of several variants, timed in turn."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from scripts.benching.clock import PARTS
from scripts.benching.figures import describe_machine, ratios, spread
from scripts.benching.memory import measure_peak
from scripts.benching.variants import BASELINE, VARIANTS, Settings, Step, build_step

__all__ = ["bench_pretrain"]


def bench_pretrain(settings: Settings, rounds: int) -> dict[str, Any]:
    """Measures the training step of every variant.

    The variants take turns in each round and get the same reports, so that a busy spell of the machine falls on all of
    them and ratios hold where times do not.

    Args:
        settings: what the variants share.
        rounds: steps of each variant that are timed.

    Returns:
        Figures by name: `speedup_bf16`, `speedup_fp32` and `speedup_released` (pairs per second of `default` in bf16
        and in fp32, and of `released` as configured, over `released` as published: medians, with their ranges),
        `peak_memory_ratio` and `peak_memory_ratio_fp32` (`default` in bf16 and in fp32 over `released` as published),
        `variants` with everything about each, `pretrain` with the settings, `machine`.
    """
    peaks = {name: measure_peak(name, settings) for name in VARIANTS}
    torch.set_num_threads(settings.threads)
    steps = {name: build_step(name, settings) for name in VARIANTS}
    flops = {name: _flops(step) for name, step in steps.items()}  # these steps warm everything up, too
    times = _take_turns(steps, rounds)
    totals = {name: [sum(parts.values()) for parts in taken] for name, taken in times.items()}
    variants = {
        name: _describe(settings.batch, times[name], totals[name], flops[name], peaks[name]) for name in VARIANTS
    }
    return {
        **_speedup("speedup_bf16", totals, "default_bf16"),
        **_speedup("speedup_fp32", totals, "default_fp32"),
        **_speedup("speedup_released", totals, "released_fp32"),
        "peak_memory_ratio": peaks["default_bf16"] / peaks[BASELINE],
        "peak_memory_ratio_fp32": peaks["default_fp32"] / peaks[BASELINE],
        "variants": variants,
        "pretrain": _setting(settings, rounds, steps),
        "machine": describe_machine(),
    }


def _flops(step: Step) -> int:
    """Floating-point operations of one step, two for a multiply-add; matrix products and convolutions count."""
    with FlopCounterMode(display=False) as counter:
        step.trainer.run()
    return counter.get_total_flops()


def _take_turns(steps: dict[str, Step], rounds: int) -> dict[str, list[dict[str, float]]]:
    """Seconds of each part, for each variant and round."""
    times: dict[str, list[dict[str, float]]] = {name: [] for name in steps}
    for _ in range(rounds):
        for name, step in steps.items():
            step.trainer.run()
            times[name].append(step.clock.seconds())
    return times


def _describe(
    batch: int, times: list[dict[str, float]], totals: list[float], flops: int, peak: int
) -> dict[str, Any]:
    parts = {part: float(np.median([taken[part] for taken in times])) for part in PARTS}
    return {
        "step_seconds": spread(totals),
        "pairs_per_second": spread([batch / total for total in totals]),
        "gflop_per_pair": flops / batch / 1e9,
        "peak_memory_bytes": peak,
        "part_seconds": parts,
        "dominating_part": max(PARTS, key=parts.__getitem__),
    }


def _speedup(figure: str, totals: dict[str, list[float]], name: str) -> dict[str, Any]:
    over = ratios(totals[BASELINE], totals[name])
    return {figure: over["median"], f"{figure}_range": [over["lowest"], over["highest"]]}


def _setting(settings: Settings, rounds: int, steps: dict[str, Step]) -> dict[str, Any]:
    cuda = settings.device == "cuda"
    return {
        "batch": settings.batch,
        "rounds": rounds,
        "image": settings.image,
        "size": settings.size,
        "device": torch.cuda.get_device_name() if cuda else "cpu",
        "seconds": "of the device" if cuda else "of CPU time, all threads summed",
        "threads": settings.threads,
        "mean_report_tokens": float(np.mean(steps[BASELINE].lengths)),
    }
