"""What every demonstration has: phantoms, a packed store, a pre-training of G2D, and commands in their order."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

__all__ = ["Demonstration", "Rows", "Step"]

Step = tuple[list[str], Path]
"""A command, and the file whose presence says that it is done."""

Rows = Sequence[tuple[str, str]]
"""Titles, and names of figures."""


class Demonstration(ABC):
    """Commands of the bundle, one after the other, and what they show.

    Args:
        data: folder of the phantoms.
        runs: folder of the runs.
        count: number of phantoms.
        epochs: of every pre-training; None: those of the configs.
        steps: epochs of every task; None: those of the configs.

    Attributes:
        rows: what the table shows.
    """

    rows: Rows

    def __init__(self, data: Path, runs: Path, count: int, epochs: int | None, steps: int | None) -> None:
        self.data, self.runs, self.count, self.epochs, self.steps = data, runs, count, epochs, steps
        self.store = data / "store"

    @abstractmethod
    def commands(self) -> list[Step]:
        """All steps, in their order."""

    @abstractmethod
    def gather(self) -> Path:
        """Write the figures of all steps into one file, and return it."""

    @abstractmethod
    def pictures(self) -> dict[str, Path]:
        """Folders worth looking into, by what they show."""

    def pairs(self) -> list[Step]:
        """Draw phantoms and pack them."""
        datalist = self.data / "datalist.json"
        prepare = ["scripts.prepare", "phantom", "--out", str(self.data), "--count", str(self.count), "--size", "128"]
        return [(["python", "-m", *prepare, "--workers", _cores()], datalist), self.packing(self.store)]

    def packing(self, store: Path, *options: str) -> Step:
        """Pack the phantoms into a store."""
        pack = ["scripts.pack", str(self.data / "datalist.json"), "--out", str(store), "--size", "128"]
        return ["python", "-m", *pack, "--vocab-size", "1000", "--workers", _cores(), *options], store / "manifest.json"

    def training(self, configs: Sequence[str], product: Path, data: Path, length: int | None, *options: str) -> Step:
        """A training; `length` epochs of it are validated once, at the end.

        Args:
            configs: names of configs, in the order in which they are merged.
            product: the run's folder, `RUNS/STAGE/NAME`.
            data: folder of the list or of the store.
            length: epochs; None: those of the configs.
            options: of the command line.
        """
        files = [f"configs/{name}.yaml" for name in configs]
        train = ["monai.bundle", "run", "training", "--config_file", str(files), "--dataset_dir", str(data)]
        train += ["--output_root", str(self.runs), "--name", product.name, *options]
        if length is not None:
            train += ["--max_epochs", str(length), "--val_interval", str(length)]
        return ["python", "-m", *train], product / "results.json"

    def evaluation(self, stage: str, product: Path, pretrained: Path, data: Path, *options: str) -> Step:
        """An evaluation of the config `evaluate_STAGE.yaml`."""
        evaluate = ["monai.bundle", "run", "evaluating", "--config_file", f"configs/evaluate_{stage}.yaml"]
        evaluate += ["--pretrained", str(pretrained), "--dataset_dir", str(data), "--output_root", str(self.runs)]
        return ["python", "-m", *evaluate, "--name", product.name, *options], product / "results.json"

    def pretraining(self) -> Step:
        """G2D, which the others start from, too."""
        return self.training(("pretrain", "demo"), self.g2d, self.store, self.epochs)

    @property
    def g2d(self) -> Path:
        """Folder of the pre-training of G2D."""
        return self.runs / "pretrain" / "demo"


def _cores() -> str:
    return str(os.cpu_count() or 1)
