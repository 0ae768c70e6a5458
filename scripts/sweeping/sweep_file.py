"""The file of a sweep: data and steps, what is measured, and the variants that are compared."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from scripts.sweeping.errors import SweepError
from scripts.sweeping.references import names_in

__all__ = ["Step", "Sweep", "read_sweep"]

_KEYS = {"base", "about", "seeds", "baseline", "data", "steps", "measures", "variants"}
_NEEDED = ("seeds", "baseline", "steps", "measures", "variants")
_STEP_KEYS = {"run", "configs", "overrides"}
_DATA_KEYS = {"command", "product"}
_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]*", re.IGNORECASE)
_RESERVED = {"seed", "folder"}


@dataclass(frozen=True)
class Step:
    """One link of a chain: a command that makes data, or a run of the bundle.

    Attributes:
        name: how others refer to its folder, `{name}`.
        command: words after `python -m` of a command that makes data; empty for a run.
        product: file in the step's folder that is there when the work is complete.
        run: what `monai.bundle run` runs, such as `training`; empty for a command.
        configs: the run's configs, absolute, in the order in which they are merged.
        overrides: values of the run's command line by id.
    """

    name: str
    product: str
    command: tuple[str, ...] = ()
    run: str = ""
    configs: tuple[Path, ...] = ()
    overrides: Mapping[str, Any] | None = None

    @property
    def references(self) -> set[str]:
        """Names that the step takes in braces."""
        return names_in([self.command, self.overrides])


@dataclass(frozen=True, eq=False)
class Sweep:
    """A checked sweep.

    Attributes:
        name: that of the file.
        about: one sentence for the head of the table.
        seeds: of every variant.
        baseline: the variant that the others are compared with.
        measures: by title, the step and the metric of its `results.json`.
        variants: by name, the steps in an order in which each follows those that it refers to.
    """

    name: str
    about: str
    seeds: tuple[int, ...]
    baseline: str
    measures: Mapping[str, tuple[str, str]]
    variants: Mapping[str, tuple[Step, ...]]


def read_sweep(path: str | Path, configs: str | Path) -> Sweep:
    """Read a sweep.

    Args:
        path: YAML file; with `base: OTHER.yaml` it is laid over that file, mapping by mapping.
        configs: folder of the bundle's configs: the config `pretrain` is its `pretrain.yaml`. Names that end in
            `.yaml` or `.json` are looked up beside the sweep file instead.

    Raises:
        SweepError: naming the file, the key and what to do.
    """
    path, configs = Path(path), Path(configs)
    raw = _read(path)
    _check_keys(raw, _KEYS, str(path))
    if missing := [key for key in _NEEDED if not raw.get(key)]:
        raise SweepError(f"{path}: {', '.join(missing)} must be given, in the file or in its base")
    _check_names(raw, path)
    variants = {
        name: _in_order(_steps(raw, changes or {}, path, configs), f"{path}: variant '{name}'")
        for name, changes in raw["variants"].items()
    }
    if raw["baseline"] not in variants:
        raise SweepError(f"{path}: the baseline '{raw['baseline']}' is no variant; there are {', '.join(variants)}")
    return Sweep(
        path.stem, str(raw.get("about", "")), _seeds(raw, path), raw["baseline"], _measures(raw, path), variants
    )


def _read(path: Path, above: tuple[Path, ...] = ()) -> dict[str, Any]:
    if path.resolve() in above:
        raise SweepError(f"{path}: files whose bases are each other say nothing; remove one 'base'")
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SweepError(f"{path}: the sweep file cannot be read ({error.strerror}); check the path") from error
    except (ValueError, yaml.YAMLError) as error:
        raise SweepError(f"{path}: this is no YAML ({' '.join(str(error).split())}); mend it") from error
    if not isinstance(raw, dict):
        raise SweepError(f"{path}: a sweep file holds keys such as seeds, steps and variants; this one holds none")
    base = raw.pop("base", None)
    return raw if base is None else _laid_over(_read(path.parent / base, (*above, path.resolve())), raw)


def _laid_over(below: Any, above: Any) -> Any:
    """Mappings merge key by key; anything else above replaces what is below."""
    if not (isinstance(below, dict) and isinstance(above, dict)):
        return above
    return below | {key: _laid_over(below.get(key), value) for key, value in above.items()}


def _check_keys(given: Any, known: set[str], where: str) -> None:
    if not isinstance(given, dict):
        raise SweepError(f"{where}: this must be a mapping with {', '.join(sorted(known))}")
    if unknown := sorted(str(key) for key in given.keys() - known):
        raise SweepError(f"{where}: unknown {', '.join(unknown)}; there are {', '.join(sorted(known))}")


def _check_names(raw: Mapping[str, Any], path: Path) -> None:
    for key in ("data", "steps", "measures", "variants"):
        if not isinstance(raw.get(key, {}), dict):
            raise SweepError(f"{path}: '{key}' must be a mapping of names")
    names = [*raw.get("data", {}), *raw["steps"]]
    for name in [*names, *raw["variants"]]:
        if not _NAME.fullmatch(str(name)) or name in _RESERVED:
            raise SweepError(f"{path}: '{name}' cannot be a name; take letters, digits, '_', '-' and '.'")
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise SweepError(f"{path}: {', '.join(twice)} is both data and a step; give one another name")


def _seeds(raw: Mapping[str, Any], path: Path) -> tuple[int, ...]:
    seeds = raw["seeds"]
    whole = isinstance(seeds, list) and all(type(seed) is int and seed >= 0 for seed in seeds)
    if not whole or len(set(seeds)) < len(seeds):
        raise SweepError(f"{path}: seeds must be distinct whole numbers such as [0, 1, 2], not {seeds}")
    return tuple(seeds)


def _measures(raw: Mapping[str, Any], path: Path) -> dict[str, tuple[str, str]]:
    measures = {}
    for title, place in raw["measures"].items():
        step, dot, metric = str(place).partition(".")
        if not dot or step not in raw["steps"]:
            raise SweepError(
                f"{path}: measure '{title}' is '{place}', which must be STEP.METRIC with a step of the file"
            )
        measures[str(title)] = (step, metric)
    return measures


def _steps(raw: Mapping[str, Any], changes: Any, path: Path, configs: Path) -> dict[str, Step]:
    """All steps of one variant by name."""
    _check_keys(changes, set(raw["steps"]), f"{path}: variants")
    steps = {name: _data_step(name, given, path) for name, given in raw.get("data", {}).items()}
    for name, given in raw["steps"].items():
        steps[name] = _run_step(name, given, changes.get(name) or {}, path, configs)
    known = {*steps, "seed"}
    for step in steps.values():
        if unknown := sorted(step.references - known - ({"folder"} if step.command else set())):
            raise SweepError(f"{path}: '{step.name}' refers to {{{unknown[0]}}}; there are {', '.join(sorted(known))}")
    return steps


def _data_step(name: str, given: Any, path: Path) -> Step:
    where = f"{path}: data '{name}'"
    _check_keys(given, _DATA_KEYS, where)
    if not all(isinstance(given.get(key), str) for key in _DATA_KEYS):
        raise SweepError(f"{where}: 'command' and 'product' must be given as text")
    return Step(name, given["product"], command=tuple(given["command"].split()))


def _run_step(name: str, given: Any, changes: Any, path: Path, configs: Path) -> Step:
    where = f"{path}: step '{name}'"
    _check_keys(given, _STEP_KEYS, where)
    _check_keys(changes, _STEP_KEYS - {"run"}, f"{path}: variants: '{name}'")
    if not isinstance(given.get("run"), str) or not given.get("configs"):
        raise SweepError(f"{where}: 'run' and 'configs' must be given, such as `run: training` and `configs: [train]`")
    files = [_config(file, path, configs) for file in [*given["configs"], *changes.get("configs", ())]]
    overrides = {**(given.get("overrides") or {}), **(changes.get("overrides") or {})}
    return Step(name, "results.json", run=given["run"], configs=tuple(files), overrides=overrides)


def _config(name: str, path: Path, configs: Path) -> Path:
    own = str(name).endswith((".yaml", ".json"))
    file = path.parent / name if own else configs / f"{name}.yaml"
    if not file.is_file():
        raise SweepError(f"{path}: there is no config {file}; configs are names of {configs} or files beside the sweep")
    return file.absolute()


def _in_order(steps: Mapping[str, Step], where: str) -> tuple[Step, ...]:
    """Each step behind those that it refers to, otherwise as in the file."""
    ordered: dict[str, Step] = {}

    def place(name: str, asking: Iterable[str]) -> None:
        if name in asking:
            raise SweepError(f"{where}: {' -> '.join([*asking, name])} refer to each other in a circle")
        for other in steps:
            if other in steps[name].references:
                place(other, (*asking, name))
        ordered.setdefault(name, steps[name])

    for name in steps:
        place(name, ())
    return tuple(ordered.values())
