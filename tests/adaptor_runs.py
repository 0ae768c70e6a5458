"""Caching and training of an Adaptor on the phantoms, from encoders of a tiny pre-training run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from monai.bundle import ConfigWorkflow
from workflows import CONFIGS, TINY_TEXT, workflow

from scripts.cache_features import main

ADAPTOR = ("pretrain", "method_adaptor", "demo", "demo_adaptor")
SMALL: dict[str, Any] = {
    "text_source": TINY_TEXT["text_source"],
    "width": 32,
    "adaptor::heads": 4,
    "adaptor::feedforward": 64,
    "learning_rate": 1.0e-3,
}


def cached(store: Path, encoders_of: Path, out: Path, *options: str) -> Path:
    """Encode a packed store with the encoders of a run."""
    files = str([str(CONFIGS / f"{name}.yaml") for name in ADAPTOR])
    values = {
        "encoders_of": str(encoders_of),
        "crop_size": 64,
        "precision": "fp32",
        "text_source": SMALL["text_source"],
    }
    given = [word for name, value in values.items() for word in (f"--{name}", yaml.safe_dump(value).strip())]
    assert main([str(store), "--out", str(out), "--config_file", files, *given, *options]) == 0
    return out


@contextmanager
def adaptor_workflow(
    cache: Path,
    encoders_of: Path,
    output: Path,
    values: Mapping[str, Any] | None = None,
    extra: tuple[str, ...] = (),
) -> Iterator[ConfigWorkflow]:
    """As `workflow`, of a small Adaptor."""
    given = SMALL | {"encoders_of": str(encoders_of)} | dict(values or {})
    with workflow(cache, output, (*ADAPTOR, *extra), given) as made:
        yield made
