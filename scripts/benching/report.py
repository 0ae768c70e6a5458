"""Figures as text for a person."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from scripts.benching.clock import PARTS

__all__ = ["data_report", "pretrain_report"]


def pretrain_report(figures: Mapping[str, Any]) -> Iterable[str]:
    """Lines about `bench_pretrain`: the steps, their parts, and what follows."""
    variants, setting = figures["variants"], figures["pretrain"]
    yield (
        f"One training step: {setting['batch']} pairs, {setting['image']} at {setting['size']} px, device "
        f"{setting['device']}, {setting['threads']} thread(s), median of {setting['rounds']} rounds; seconds "
        f"{setting['seconds']}"
    )
    yield _machine(figures)
    yield ""
    yield f"{'':24}{'s/step':>8}{'range':>16}{'pairs/s':>9}{'GFLOP/pair':>12}{'GFLOP/s':>9}{'peak GiB':>10}"
    for name, variant in variants.items():
        yield _step_line(name, variant)
    yield ""
    yield f"{'share of the step, %':24}" + "".join(f"{part:>16}" for part in PARTS)
    for name, variant in variants.items():
        shares = (100 * variant["part_seconds"][part] / _total(variant) for part in PARTS)
        yield f"{name:24}" + "".join(f"{share:16.1f}" for share in shares)
    yield ""
    for name, variant in variants.items():
        part = variant["dominating_part"]
        yield f"{name}: most time goes into {part} ({100 * variant['part_seconds'][part] / _total(variant):.0f} %)"
    yield ""
    yield "Against released_as_published (pairs per second; median and range of the rounds' ratios):"
    for figure in ("speedup_released", "speedup_fp32", "speedup_bf16"):
        low, high = figures[f"{figure}_range"]
        yield f"  {figure:36}{figures[figure]:6.2f}   [{low:.2f} .. {high:.2f}]"
    for figure in ("peak_memory_ratio_fp32", "peak_memory_ratio", "peak_memory_ratio_above_libraries"):
        yield f"  {figure:36}{figures[figure]:6.2f}"


def data_report(figures: Mapping[str, Any]) -> Iterable[str]:
    """Lines about `bench_data`."""
    data = figures["data"]
    height, width = data["film"]
    yield (
        f"Data on one core, CPU seconds: store of {data['size']} px read {data['batch']} at a time; films of "
        f"{height} x {width} px; median of {data['rounds']} rounds"
    )
    yield _machine(figures)
    yield ""
    for name, spread in data["ranges"].items():
        yield f"  {name:36}{spread['median']:11.2f}   [{spread['lowest']:.2f} .. {spread['highest']:.2f}]"


def _total(variant: Mapping[str, Any]) -> float:
    return sum(variant["part_seconds"].values())


def _machine(figures: Mapping[str, Any]) -> str:
    machine = figures["machine"]
    bf16 = ", ".join(machine["bf16_instructions"]) or "no bf16 instructions"
    return f"{machine['processor']}, {machine['cores']} cores, {bf16}; torch {machine['torch']}"


def _step_line(name: str, variant: Mapping[str, Any]) -> str:
    seconds, gflop = variant["step_seconds"], variant["gflop_per_pair"]
    pairs = variant["pairs_per_second"]["median"]
    return (
        f"{name:24}{seconds['median']:8.2f}{seconds['lowest']:9.2f} ..{seconds['highest']:5.2f}{pairs:9.2f}"
        f"{gflop:12.1f}{gflop * pairs:9.0f}{variant['peak_memory_bytes'] / 2**30:10.2f}"
    )
