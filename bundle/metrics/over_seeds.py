"""One result from several seeds: mean, deviation, and the figures of each."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

__all__ = ["SeedsError", "gather_results"]

Entry = Mapping[str, Any]

_SHARED = ("stage", "list", "list_sha256", "protocol")
_ABSENT = {"value": None, "low": None, "high": None, "n": None}


class SeedsError(ValueError):
    """Results that cannot be taken together, or seeds that cannot be trained in turn."""


def gather_results(results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Take the results of runs that differ in their seed alone together.

    Args:
        results: contents of their `results.json`.

    Returns:
        The same schema: `seeds` holds all of them, `git` is null where they differ, and each metric has
        `value`, `low` and `high` (means over the seeds; null where one seed has none, as of a distance to
        masks that it did not predict), `n` (null where they differ),
        `deviation` (sample standard deviation over the seeds, ddof 1; null for one seed) and `per_seed`. The interval
        tells of the items that were drawn, the deviation of the seeds.

    Raises:
        SeedsError: when there are none, a seed occurs twice, or stage, list or protocol differ.

    Example:
        >>> both = gather_results([{**facts, "seeds": [0], "metrics": m0}, {**facts, "seeds": [1], "metrics": m1}])
        >>> both["metrics"]["dice_pos"]["per_seed"]
        [0.5, 0.7]
    """
    if not results:
        raise SeedsError("there are no results to take together: train at least one seed")
    seeds = [seed for result in results for seed in result["seeds"]]
    if len(set(seeds)) < len(seeds):
        raise SeedsError(f"results of the seeds {seeds} cannot be taken together: a seed occurs twice")
    for name in _SHARED:
        _check_same(name, seeds, [result[name] for result in results])
    names = dict.fromkeys(name for result in results for name in result["metrics"])
    metrics = {name: _entry([result["metrics"].get(name, _ABSENT) for result in results]) for name in names}
    shared = {name: results[0][name] for name in _SHARED}
    return shared | {"seeds": seeds, "git": _common(result["git"] for result in results), "metrics": metrics}


def _check_same(name: str, seeds: Sequence[int], values: Sequence[Any]) -> None:
    for value in values:
        if value != values[0]:
            raise SeedsError(
                f"results of the seeds {list(seeds)} cannot be taken together: {name} is {values[0]!r} for one and "
                f"{value!r} for another; train them all from the same config"
            )


def _entry(entries: Sequence[Entry]) -> dict[str, Any]:
    values = [entry["value"] for entry in entries]
    spread = None
    if len(values) > 1 and None not in values:
        spread = statistics.stdev(values)
    means = {name: _mean([entry[name] for entry in entries]) for name in ("value", "low", "high")}
    return means | {"n": _common(entry["n"] for entry in entries), "deviation": spread, "per_seed": values}


def _mean(values: Sequence[float | None]) -> float | None:
    """A mean over fewer seeds than the others would pass for one over all: there is none."""
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if len(known) == len(values) else None


def _common(values: Iterable[Any]) -> Any:
    first, *others = values
    return first if all(value == first for value in others) else None
