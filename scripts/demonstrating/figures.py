"""The figures of the whole demo: gathered from its runs, and as a table."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from bundle.handlers.atomic import replacing
from scripts.demonstrating.demonstration import Rows

__all__ = ["gather", "table"]


def gather(path: Path, evaluations: Iterable[Path], renamed: Mapping[str, tuple[Path, str]]) -> Path:
    """Write the figures of several runs into one file, in the schema of a run's results.

    Args:
        path: the file.
        evaluations: folders of runs whose figures keep their names; of equal names the last counts.
        renamed: folder and name of further figures, by the names they get.

    Returns:
        The file.
    """
    first, *others = [_results(folder) for folder in evaluations]
    metrics = {name: entry for results in (first, *others) for name, entry in results["metrics"].items()}
    metrics |= {
        new: entry for new, (run, name) in renamed.items() if (entry := _results(run)["metrics"].get(name)) is not None
    }
    with replacing(path) as partial:
        content = first | {"stage": "demo", "metrics": metrics}
        partial.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return path


def table(path: Path, rows: Rows) -> str:
    """The figures of a gathered file that matter, with their intervals; a ratio to a prior of 0 has no value."""
    return "\n".join(_lines(json.loads(path.read_text(encoding="utf-8"))["metrics"], rows))


def _lines(metrics: Mapping[str, Mapping[str, float | None]], rows: Rows) -> Iterator[str]:
    yield f"\n{'held-out phantoms':38}{'value':>9}   95 % interval"
    for title, name in rows:
        entry = metrics.get(name, {"value": None})
        if entry["value"] is None:
            yield f"{title:38}{'-':>9}"
        else:
            interval = f"{entry['low']:.3g} to {entry['high']:.3g}" if entry["low"] is not None else ""
            yield f"{title:38}{entry['value']:9.3g}   {interval}"


def _results(run: Path) -> dict[str, Any]:
    return json.loads((run / "results.json").read_text(encoding="utf-8"))
