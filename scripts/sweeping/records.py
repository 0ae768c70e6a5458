"""What is written down of jobs and cells, so that a sweep that was killed knows where it stands."""

from __future__ import annotations

import json
import os
import shlex
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from bundle.handlers.atomic import replacing
from scripts.sweeping.errors import SweepError
from scripts.sweeping.jobs import Cell, Job

__all__ = ["console", "is_done", "last_words", "note_cells", "note_end", "record"]

_CONFIG = "config "


def record(job: Job) -> dict[str, Any]:
    """The record of a job, `STEP/FINGERPRINT.json` beside its folder: `done`, and its `sittings` so far.

    Raises:
        SweepError: when the file is spoilt.
    """
    path = _record_path(job)
    if not path.is_file():
        return {"done": False, "sittings": []}
    return _json(path)


def is_done(job: Job) -> bool:
    """Whether the command ended well, and its product still stands."""
    return bool(record(job)["done"]) and job.product.is_file()


def note_end(job: Job, done: bool, seconds: float, cpu_seconds: float, code: int) -> None:
    """Write down that a job's process has ended; what counts as done is written here and nowhere else."""
    sitting = {
        "ended": time.strftime("%Y-%m-%d %H:%M:%S"),
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "code": code,
    }
    sittings = [*record(job)["sittings"], sitting]
    facts = {"step": job.step, "done": done, "command": shlex.join(job.command), "made_from": job.made_from}
    with replacing(_record_path(job)) as partial:
        partial.write_text(json.dumps({**facts, "sittings": sittings}, indent=2) + "\n", encoding="utf-8")


def console(job: Job) -> Path:
    """What the job's process printed, in all its sittings."""
    return job.folder.with_name(f"{job.fingerprint}.txt")


def last_words(job: Job) -> str:
    """The last line that the job's process printed."""
    path = console(job)
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []
    return next((line.strip() for line in reversed(lines) if line.strip()), "nothing was printed")


def note_cells(cells: Iterable[Cell], out: Path) -> None:
    """Write down what each cell consists of, with links to its steps; refuse cells that were begun otherwise.

    Args:
        cells: of one or several sweeps.
        out: folder of all sweeps.

    Raises:
        SweepError: when cells were begun from other configs or overrides.
    """
    cells = list(cells)
    changed = {cell: differing for cell in cells if (differing := _differing(cell, out))}
    if changed:
        cell, differing = next(iter(changed.items()))
        others = f", and so {len(changed) - 1} more" if len(changed) > 1 else ""
        raise SweepError(
            f"{out / cell.sweep}: cell {cell.name} was begun otherwise ({differing}){others}: undo the change, or "
            "remove this folder to begin its cells anew; steps that have not changed are kept"
        )
    for cell in cells:
        _note_cell(cell, out)


def _note_cell(cell: Cell, out: Path) -> None:
    folder = out / cell.sweep / cell.name
    steps = {step: {"folder": job.fingerprint, "made_from": job.made_from} for step, job in cell.jobs.items()}
    # Steps that no measure asks for any more stay noted, as their links stay: they may be asked for again.
    steps = _noted(cell, out) | steps
    with replacing(folder / "cell.json") as partial:
        partial.write_text(json.dumps(steps, indent=2) + "\n", encoding="utf-8")
    for step, job in cell.jobs.items():
        link = folder / step
        link.unlink(missing_ok=True)
        link.symlink_to(os.path.relpath(job.folder, folder), target_is_directory=True)


def _noted(cell: Cell, out: Path) -> dict[str, Any]:
    """The steps that a cell consisted of so far; none before it was begun."""
    path = out / cell.sweep / cell.name / "cell.json"
    return _json(path) if path.is_file() else {}


def _differing(cell: Cell, out: Path) -> str:
    """What a cell that has been begun was made from otherwise; empty where nothing differs."""
    noted = _noted(cell, out)
    for step, job in cell.jobs.items():
        before = noted.get(step)
        if before is None or before["folder"] == job.fingerprint:
            continue
        differing = list(_differences(before["made_from"], job.made_from))
        begun = console(job).with_name(f"{before['folder']}.txt").exists()
        if begun and differing:
            return f"step '{step}': {'; '.join(differing)}"
    return ""


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    old, new = _flat(before), _flat(now)
    for name in [*old, *(name for name in new if name not in old)]:
        was, is_now = old.get(name, "not given"), new.get(name, "not given")
        if was != is_now:
            both = name in old and name in new
            yield (
                f"{name} says something else" if both and name.startswith(_CONFIG) else f"{name} was {was}, is {is_now}"
            )


def _flat(made_from: Mapping[str, Any]) -> dict[str, Any]:
    """What a job is made from by name: its command, or its configs (by hash) and overrides."""
    if "command" in made_from:
        return {"command": " ".join(made_from["command"])}
    configs = {f"{_CONFIG}{name}": content for name, content in made_from["configs"].items()}
    return {"run": made_from["run"]} | configs | dict(made_from["overrides"])


def _record_path(job: Job) -> Path:
    return job.folder.with_name(f"{job.fingerprint}.json")


def _json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SweepError(f"{path}: not readable as JSON; remove it, and its step is taken up again") from error
