"""Trainings are validated every `val_interval` epochs and after the last one: what they end with is what is saved."""

from __future__ import annotations

from pathlib import Path

import pytest
from pretrained import pretrained_run
from safetensors.torch import load_file
from supervised_runs import STAGES, UNDRAWN, lines_of, results_of, supervised

EPOCHS = [(3, 2, [2, 3]), (1, 4, [1]), (2, 1, [1, 2])]


def validated(run: Path) -> list[int]:
    return [line["epoch"] for line in lines_of(run / "metrics.jsonl")]


@pytest.mark.parametrize(("epochs", "interval", "expected"), EPOCHS)
def test_pretraining(phantom_store: Path, tmp_path: Path, epochs: int, interval: int, expected: list[int]) -> None:
    run, network = pretrained_run(phantom_store, tmp_path, {"val_interval": interval}, epochs)
    assert validated(run) == expected
    trained = {name: value for name, value in network.state_dict().items() if name.startswith("image_encoder.")}
    saved = load_file(run / "models" / "encoder.safetensors")
    assert all(saved[name].equal(value) for name, value in trained.items())


@pytest.mark.parametrize(("epochs", "interval", "expected"), EPOCHS)
def test_fine_tuning(phantoms: Path, tmp_path: Path, epochs: int, interval: int, expected: list[int]) -> None:
    values = {**UNDRAWN, "max_epochs": epochs, "val_interval": interval}
    with supervised(STAGES["segmentation"], phantoms, tmp_path, values) as made:
        made.run()
    run = tmp_path / STAGES["segmentation"].folder
    assert validated(run) == expected
    assert results_of(run)["metrics"]
