"""Each variant of the bundle's sweeps trains: one step of its pre-training, decoder included."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from workflows import CONFIGS, ONE_STEP, TINY_TEXT, one_step, workflow

from scripts.sweeping.references import put_in
from scripts.sweeping.sweep_file import Step, read_sweep

SWEEPS = sorted(path for path in (CONFIGS / "sweeps").glob("*.yaml") if not path.stem.startswith("base"))


def pretrainings() -> dict[str, Step]:
    """Pre-trainings that differ in more than numbers, called by the first sweep and variant that has them."""
    found: dict[str, Step] = {}
    names: dict[str, str] = {}
    for path in SWEEPS:
        for variant, steps in read_sweep(path, CONFIGS).variants.items():
            step = next(step for step in steps if step.name == "pretrain")
            kinds = {
                name: value for name, value in (step.overrides or {}).items() if not isinstance(value, int | float)
            }
            numbers = sorted((step.overrides or {}).keys() - kinds.keys())
            made_from = json.dumps([[str(file) for file in step.configs], kinds, numbers], sort_keys=True)
            name = names.setdefault(made_from, f"{path.stem}-{variant}")
            found[name] = step
    return found


STEPS = pretrainings()


def test_there_are_many_and_the_baseline_is_one() -> None:
    assert len(STEPS) > 20
    assert sum(name.endswith("-published") for name in STEPS) == 1


@pytest.mark.slow
@pytest.mark.parametrize("name", STEPS)
def test_a_variant_trains_a_step(name: str, phantoms: Path, phantom_store: Path, tmp_path: Path) -> None:
    step = STEPS[name]
    known = {"seed": 0, "align": str(tmp_path / "align")}
    known |= dict.fromkeys(("phantoms", "more_phantoms", "large_phantoms"), str(phantoms))
    known |= dict.fromkeys(("store", "more_store", "large_store"), str(phantom_store))
    values: dict[str, Any] = put_in(dict(step.overrides or {}), known)
    # Without handlers nothing delays the decoder, whatever its start step.
    values = TINY_TEXT | values | {"batch_size": 8, "crop_size": 64, "continues": None} | ONE_STEP
    names = tuple(str(file.relative_to(CONFIGS).with_suffix("")) for file in step.configs)
    with workflow(phantom_store, tmp_path, names, values) as made:
        gradients = one_step(made)
        assert math.isfinite(made.trainer.state.output["loss"].item())
    assert [part for part, gradient in gradients.items() if gradient is None] == []
