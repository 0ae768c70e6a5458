"""The file of a sweep: data and steps, what is measured, and the variants that are compared."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from scripts.sweeping.errors import SweepError
from scripts.sweeping.measures import Measure, read_measures
from scripts.sweeping.order import asked_for, in_order
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
        measures: what is compared, by title.
        variants: by name, the steps that the measures ask for, in an order in which each follows those that it refers
            to.
    """

    name: str
    about: str
    seeds: tuple[int, ...]
    baseline: str
    measures: Mapping[str, Measure]
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
    measures = read_measures(raw["measures"], raw["steps"], str(path))
    variants = {name: _variant(name, raw, measures, path, configs) for name in raw["variants"]}
    if raw["baseline"] not in variants:
        raise SweepError(f"{path}: the baseline '{raw['baseline']}' is no variant; there are {', '.join(variants)}")
    return Sweep(path.stem, str(raw.get("about", "")), _seeds(raw, path), raw["baseline"], measures, variants)


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
    below = {} if base is None else _read(path.parent / base, (*above, path.resolve()))
    return _without_nulls(_laid_over(below, raw), below.get("measures"), path)


def _laid_over(below: Any, above: Any) -> Any:
    """Mappings merge key by key; anything else above replaces what is below."""
    if not (isinstance(below, dict) and isinstance(above, dict)):
        return above
    return below | {key: _laid_over(below.get(key), value) for key, value in above.items()}


def _without_nulls(raw: dict[str, Any], of_base: Any, path: Path) -> dict[str, Any]:
    """Leave out measures of the base that the file sets to null."""
    measures = raw.get("measures")
    if not isinstance(measures, dict):
        return raw
    known = of_base if isinstance(of_base, dict) else {}
    if unknown := [title for title, place in measures.items() if place is None and title not in known]:
        there_are = f"there are {', '.join(map(str, known))}" if known else "remove it"
        raise SweepError(f"{path}: measure '{unknown[0]}' is null, but no base has one that it leaves out; {there_are}")
    return raw | {"measures": {title: place for title, place in measures.items() if place is not None}}


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


def _variant(
    name: str, raw: Mapping[str, Any], measures: Mapping[str, Measure], path: Path, configs: Path
) -> tuple[Step, ...]:
    """The steps of a variant that the measures ask for, in order."""
    changes = raw["variants"][name] or {}
    steps = _steps(raw, changes, path, configs)
    references = {step.name: step.references for step in steps.values()}
    order = in_order(references, f"{path}: variant '{name}'")
    wanted = asked_for((place.step for measure in measures.values() for place in measure.places), references)
    if idle := [step for step, change in changes.items() if change and step not in wanted]:
        raise SweepError(
            f"{path}: variant '{name}' changes step '{idle[0]}', which no measure asks for: add a measure that "
            f"does, or take the change out (`{idle[0]}: null` where it is the base's)"
        )
    return tuple(steps[step] for step in order if step in wanted)


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
