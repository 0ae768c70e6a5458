"""Cells and their jobs: a step with all its references filled in, known by what it is made from."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from fire.parser import DefaultParseValue

from scripts.sweeping.references import put_in
from scripts.sweeping.sweep_file import Step, Sweep

__all__ = ["Cell", "Job", "cells_of"]

ROOT = Path(__file__).resolve().parent.parent.parent

_LENGTH = 12  # of a fingerprint: 48 bits tell all runs of a life apart


@dataclass(frozen=True)
class Job:
    """One command, shared by all cells that ask for the same: equal folders are equal jobs.

    Attributes:
        folder: where the result goes.
        step: name of the step.
        made_from: all that the result depends on but the code: words or overrides, hashes of configs, fingerprints of
            the jobs whose folders it reads.
        command: the command line, `python` for the interpreter.
        product: file that is there when the work is complete.
        needs: jobs that must be done before.
        configs: config files of a run.
    """

    folder: Path
    step: str = field(compare=False)
    made_from: Mapping[str, Any] = field(compare=False)
    command: tuple[str, ...] = field(compare=False)
    product: Path = field(compare=False)
    needs: tuple[Job, ...] = field(compare=False, repr=False)
    configs: tuple[Path, ...] = field(compare=False, default=())

    @property
    def fingerprint(self) -> str:
        """Name of the folder: equal commands have the same, whatever cell or sweep asks for them."""
        return self.folder.name

    @property
    def resumes(self) -> bool:
        """Whether the command goes on where it was cut off; one that makes data begins anew in an empty folder."""
        return "run" in self.made_from

    @property
    def argv(self) -> list[str]:
        """The command with the present interpreter."""
        return [sys.executable, *self.command[1:]]


@dataclass(frozen=True, eq=False)
class Cell:
    """A variant with one seed.

    Attributes:
        sweep: name of the sweep.
        variant: name of the variant.
        seed: its seed.
        jobs: by step, each behind those it needs.
    """

    sweep: str
    variant: str
    seed: int
    jobs: Mapping[str, Job]

    @property
    def name(self) -> str:
        """`VARIANT/seed_N`, also the cell's folder within that of its sweep."""
        return f"{self.variant}/seed_{self.seed}"


def cells_of(sweep: Sweep, out: str | Path) -> list[Cell]:
    """All cells of a sweep, seed by seed, so that every variant has figures as early as possible.

    Args:
        sweep: the sweep.
        out: folder of all sweeps; results lie in `OUT/steps/STEP/FINGERPRINT`.
    """
    steps = Path(out).absolute() / "steps"
    return [
        Cell(sweep.name, variant, seed, _chain(chain, seed, steps))
        for seed in sweep.seeds
        for variant, chain in sweep.variants.items()
    ]


def _chain(chain: Sequence[Step], seed: int, steps: Path) -> dict[str, Job]:
    jobs: dict[str, Job] = {}
    for step in chain:
        jobs[step.name] = _job(step, seed, jobs, steps)
    return jobs


def _job(step: Step, seed: int, jobs: Mapping[str, Job], steps: Path) -> Job:
    needed = {name: job for name, job in jobs.items() if name in step.references}
    made_from = _made_from(step, seed, needed)
    text = json.dumps(made_from, sort_keys=True, ensure_ascii=False)
    folder = steps / step.name / hashlib.sha256(text.encode()).hexdigest()[:_LENGTH]
    known = {name: str(job.folder) for name, job in needed.items()} | {"seed": seed, "folder": str(folder)}
    if step.command:
        command = ["python", "-m", *(str(word) for word in put_in(step.command, known))]
    else:
        command = _run_command(step, put_in(step.overrides, known), folder)
    needs = tuple(needed.values())
    return Job(folder, step.name, made_from, tuple(command), folder / step.product, needs, step.configs)


def _made_from(step: Step, seed: int, needed: Mapping[str, Job]) -> dict[str, Any]:
    marks = {name: f"<{name} {job.fingerprint}>" for name, job in needed.items()} | {"seed": seed, "folder": "<folder>"}
    if step.command:
        return {"command": [str(word) for word in put_in(step.command, marks)]}
    overrides = put_in(step.overrides, marks)
    files = [*step.configs, *(ROOT / value for value in overrides.values() if _is_file(value))]
    configs = {_shown(file): _content(file) for file in files}
    return {"run": step.run, "configs": configs, "overrides": overrides}


def _is_file(value: Any) -> bool:
    """Whether a value names a file of the bundle, such as prompts, whose content counts like that of a config."""
    return isinstance(value, str) and value.startswith("configs/") and (ROOT / value).is_file()


def _shown(file: Path) -> str:
    return str(file.relative_to(ROOT)) if file.is_relative_to(ROOT) else file.name


@lru_cache
def _content(file: Path) -> str:
    """Hash of what a config says; comments and order of keys do not count."""
    said = yaml.safe_load(file.read_text(encoding="utf-8"))
    return hashlib.sha256(json.dumps(said, sort_keys=True, default=str).encode()).hexdigest()[:_LENGTH]


def _run_command(step: Step, overrides: Mapping[str, Any], folder: Path) -> list[str]:
    configs = [_shown(file) if file.is_relative_to(ROOT) else str(file) for file in step.configs]
    command = ["python", "-m", "monai.bundle", "run", step.run, "--config_file", str(configs)]
    # The name keeps runs apart in tables that mix several; the folder follows from the step, not from the name.
    given = {"output_dir": str(folder), "name": f"{step.name}_{folder.name}", **overrides}
    return [*command, *(word for name, value in given.items() for word in (f"--{name}", _argument(value)))]


def _argument(value: Any) -> str:
    """A value as the command line of MONAI's runner reads it."""
    if value is None:
        return "$None"  # an option whose value is None is left out by the runner, in silence
    plain = str(value)
    return plain if DefaultParseValue(plain) == value else repr(value)
