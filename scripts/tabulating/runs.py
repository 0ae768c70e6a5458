"""What runs left in their folders, read for comparison."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

__all__ = ["Run", "TableError", "find_runs"]

_FACTS = {"stage": str, "list": str, "list_sha256": str, "protocol": str, "seeds": list, "metrics": dict}


class TableError(ValueError):
    """Runs that cannot be put into a table; the message names the file or the option."""


@dataclass(frozen=True)
class Run:
    """One run, over one or several seeds.

    Attributes:
        folder: where it lies.
        results: content of its `results.json`.
        config: content of its `config.yaml`, empty where there is none.
    """

    folder: Path
    results: Mapping[str, Any]
    config: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The name that the config gives it, else that of its folder."""
        name = self.config.get("name")
        return name if isinstance(name, str) and not name.startswith(("$", "@")) else self.folder.name

    @property
    def evaluation(self) -> tuple[str, str, str, str]:
        """What figures must share to be compared: stage, list, hash of the list, protocol."""
        results = self.results
        return results["stage"], results["list"], results["list_sha256"], results["protocol"]

    @property
    def start(self) -> str:
        """The weights that training started from, such as `random`, `imagenet` or `g2d: encoder + decoder`.

        Of an evaluation without training it is the run that was evaluated.
        """
        if isinstance(pretrained := self.config.get("pretrained"), str):
            return Path(pretrained).name
        weights, parts = self.config.get("start"), self.config.get("start_parts")
        if not (isinstance(weights, str) and isinstance(parts, list) and parts):
            return str(self.config.get("image_weights") or "random")
        path = Path(weights)
        source = path.parent.parent.name if path.parent.name == "models" else path.stem
        return f"{source}: {' + '.join(str(part).removeprefix('image_') for part in parts)}"

    def number(self, name: str) -> float | None:
        """A number of the run's results or config, such as `fraction`; none where neither has it."""
        value = self.results.get(name, self.config.get(name))
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def find_runs(paths: Sequence[str | Path]) -> list[Run]:
    """Read runs.

    Args:
        paths: folders of runs, or folders that contain such at any depth. The folders of single seeds are left out
            beside the run that takes them together.

    Returns:
        Each run once, in the order of the paths and, below each, of the alphabet.

    Raises:
        TableError: when a path holds no run, or a file of a run cannot be used.
    """
    found: dict[Path, Run] = {}
    for path in map(Path, paths):
        if not path.is_dir():
            raise TableError(f"{path}: there is no such folder; give folders of runs")
        files = [path / "results.json"] if (path / "results.json").is_file() else sorted(path.rglob("results.json"))
        if not files:
            raise TableError(f"{path}: there is no results.json in it or below; has the run ended?")
        for file in files:
            found.setdefault(file.parent.resolve(), _read(file.parent))
    return list(_without_seeds(found))


def _without_seeds(runs: Mapping[Path, Run]) -> Iterable[Run]:
    for folder, run in runs.items():
        whole = runs.get(folder.parent)
        number = re.fullmatch(r"seed_(\d+)", folder.name)
        if whole is None or number is None or int(number[1]) not in whole.results["seeds"]:
            yield run


def _read(folder: Path) -> Run:
    config = folder / "config.yaml"
    return Run(folder, _read_results(folder / "results.json"), _read_config(config) if config.is_file() else {})


def _read_results(path: Path) -> dict[str, Any]:
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TableError(f"{path}: not readable as JSON ({error}); run the last step of its run again") from error
    known = results if isinstance(results, dict) else {}
    for fact, kind in _FACTS.items():
        if not isinstance(known.get(fact), kind):
            raise TableError(f"{path}: '{fact}' is missing or no {kind.__name__}; is this the file of a run?")
    for name, entry in known["metrics"].items():
        if not isinstance(entry, dict) or not {"value", "low", "high", "n"} <= entry.keys():
            raise TableError(f"{path}: metric '{name}' lacks value, low, high or n; is this the file of a run?")
    return known


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise TableError(f"{path}: not readable as YAML; remove it, or run the run again") from error
    if not isinstance(config, dict):
        raise TableError(f"{path}: it holds no config; remove it, or run the run again")
    return config
