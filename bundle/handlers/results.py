"""The figures of a run, with their intervals: `results.json`."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ignite.engine import Events
from monai.engines import Workflow

from bundle.metrics.bootstrap import bootstrap_interval
from bundle.metrics.samples import Sampled

from .atomic import replacing
from .metrics_log import scalar_metrics
from .revision import git_revision

__all__ = ["Results"]

logger = logging.getLogger(__name__)


class Results:
    """When a run is complete write the metrics of its last validation, with 95 % intervals where there are samples.

    Attach it to the trainer and name the evaluator; or, where nothing is trained, attach it to the evaluator alone.
    With several processes attach it in the first one only. The file holds `{"stage", "list", "list_sha256", "protocol",
    "seeds", "git", "metrics": {name: {"value", "low", "high", "n"}}}`. An interval resamples whole patients; `n` counts
    the items that the metric looks at. A metric that has nothing to draw from, such as a median rank, has null there.

    Args:
        path: the file, `results.json` in the run's folder.
        stage: name of the stage, such as `pretraining`.
        datalist: `name` and `sha256` of the data list that was evaluated, as a store's manifest has them.
        protocol: name of the evaluation protocol.
        evaluator: the engine whose metrics these are; by default the one that this handler is attached to.
        seeds: seeds of the run.
        groups: patient of each item by its number in the data set (`index`), -1 where it is unknown: such an item
            counts as a patient of its own. Without groups images are resampled.
        resamples: number of bootstrap resamples.
    """

    def __init__(
        self,
        path: str | Path,
        stage: str,
        datalist: Mapping[str, str],
        protocol: str,
        evaluator: Workflow | None = None,
        seeds: Sequence[int] = (0,),
        groups: Sequence[Any] | None = None,
        resamples: int = 1000,
    ) -> None:
        self.path = Path(path)
        self.evaluator = evaluator
        self.stage = stage
        self.datalist = dict(datalist)
        self.protocol = protocol
        self.seeds = list(seeds)
        self.groups = groups
        self.resamples = resamples

    def attach(self, engine: Workflow) -> None:
        """Register with a trainer, or with the evaluator."""
        engine.add_event_handler(Events.COMPLETED, self)

    def __call__(self, engine: Workflow) -> None:
        """Write the file."""
        evaluator = engine if self.evaluator is None else self.evaluator
        metrics = scalar_metrics(evaluator)
        if not metrics:
            logger.warning("no %s written: the run ended before any validation", self.path)
            return
        samples: Mapping[str, Sampled] = getattr(evaluator.state, "samples", {})
        content = {
            "stage": self.stage,
            "list": self.datalist["name"],
            "list_sha256": self.datalist["sha256"],
            "protocol": self.protocol,
            "seeds": self.seeds,
            "git": git_revision(),
            "metrics": {name: self._entry(value, samples.get(name)) for name, value in metrics.items()},
        }
        with replacing(self.path) as partial:
            partial.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")

    def _entry(self, value: float, sampled: Sampled | None) -> dict[str, float | int | None]:
        if sampled is None:
            return {"value": _finite(value), "low": None, "high": None, "n": None}
        count = len(sampled.index)
        low, high = bootstrap_interval(sampled.resampled, count, self._groups_of(sampled), self.resamples)
        return {"value": _finite(value), "low": _finite(low), "high": _finite(high), "n": count}

    def _groups_of(self, sampled: Sampled) -> list[str] | None:
        if self.groups is None:
            return None
        patients = [(number, self.groups[number]) for number in sampled.index.tolist()]
        return [f"item {number}" if patient == -1 else f"patient {patient}" for number, patient in patients]


def _finite(value: float) -> float | None:
    """The value, or none where JSON has no number for it."""
    return value if math.isfinite(value) else None
