"""Training steps of several variants, timed in turn."""

from __future__ import annotations

from statistics import median
from typing import Any

import timm
import torch
from torch.utils.flop_counter import FlopCounterMode

from scripts.benching.clock import PARTS
from scripts.benching.figures import describe_machine, ratios, spread
from scripts.benching.lengths import MEDIAN, SIGMA
from scripts.benching.memory import Peak, measure_peak
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
        and in fp32, and of `released` in fp32 with our kernels, over `released` as published: medians, with ranges),
        `peak_memory_ratio` and `peak_memory_ratio_fp32` (`default` in bf16 and in fp32 over `released` as published,
        whole processes), `peak_memory_ratio_above_libraries` (the former without what imports alone take),
        `variants` with everything about each, `pretrain` with the settings, `machine`.

    Raises:
        ValueError: there is no such image encoder, or no CUDA device.
    """
    _check(settings)
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
        "peak_memory_ratio": peaks["default_bf16"].peak / peaks[BASELINE].peak,
        "peak_memory_ratio_fp32": peaks["default_fp32"].peak / peaks[BASELINE].peak,
        "peak_memory_ratio_above_libraries": _above(peaks["default_bf16"]) / _above(peaks[BASELINE]),
        "variants": variants,
        "pretrain": _setting(settings, rounds),
        "machine": describe_machine(),
    }


def _check(settings: Settings) -> None:
    if not timm.is_model(settings.image):
        raise ValueError(f"timm has no network {settings.image!r}; timm.list_models() gives the names")
    if settings.device == "cuda" and not torch.cuda.is_available():
        raise ValueError("there is no CUDA device here; run with --device cpu")


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


def _describe(batch: int, times: list[dict[str, float]], totals: list[float], flops: int, peak: Peak) -> dict[str, Any]:
    parts = {part: median(taken[part] for taken in times) for part in PARTS}
    return {
        "step_seconds": spread(totals),
        "pairs_per_second": spread([batch / total for total in totals]),
        "gflop_per_pair": flops / batch / 1e9,
        "peak_memory_bytes": peak.peak,
        "library_memory_bytes": peak.libraries,
        "part_seconds": parts,
        "dominating_part": max(PARTS, key=parts.__getitem__),
    }


def _above(peak: Peak) -> int:
    return peak.peak - peak.libraries


def _speedup(figure: str, totals: dict[str, list[float]], name: str) -> dict[str, Any]:
    over = ratios(totals[BASELINE], totals[name])
    return {figure: over["median"], f"{figure}_range": [over["lowest"], over["highest"]]}


def _setting(settings: Settings, rounds: int) -> dict[str, Any]:
    cuda = settings.device == "cuda"
    return {
        "batch": settings.batch,
        "rounds": rounds,
        "image": settings.image,
        "size": settings.size,
        "device": torch.cuda.get_device_name() if cuda else "cpu",
        "seconds": "of the device" if cuda else "of CPU time, all threads summed",
        "threads": settings.threads,
        "report_tokens": {"median": MEDIAN, "sigma": SIGMA, "longest": settings.max_length},
    }
