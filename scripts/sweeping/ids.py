"""Misspelt overrides, found before anything runs."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import yaml

from scripts.sweeping.errors import SweepError
from scripts.sweeping.jobs import Job

__all__ = ["check_ids"]


def check_ids(jobs: Mapping[Job, str]) -> None:
    """Refuse overrides of ids that none of a run's configs has. The run itself would refuse them, hours later perhaps.

    Args:
        jobs: what will run, with what to call it.

    Raises:
        SweepError: naming the id, and those that look like it.
    """
    for job, title in jobs.items():
        known = {_first(name) for file in job.configs for name in _keys(file)}
        for name in map(_first, job.made_from.get("overrides", {})):
            if name not in known:
                close = difflib.get_close_matches(name, known, n=3)
                hint = f"; did you mean {' or '.join(close)}?" if close else ""
                raise SweepError(f"{title}: its configs have no id '{name}'{hint}")


@lru_cache
def _keys(file: Path) -> tuple[str, ...]:
    return tuple(map(str, yaml.safe_load(file.read_text(encoding="utf-8"))))


def _first(name: str) -> str:
    """The first level of an id: `pool` of `pool#heads`, `pool::heads` and `+pool`."""
    return name.replace("::", "#").split("#")[0].lstrip("+")
