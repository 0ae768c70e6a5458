"""MELINDA: figures of biomedical papers with captions, classified by the method of the experiment.

Needed under --root: `train.csv`, `dev.csv`, `test.csv` with the columns figure_file, caption, i_meth, p_meth,
i_meth_label and p_meth_label, and the figures in `melinda_images`. It can no longer be downloaded; this is for those
who have it.

    python -m scripts.prepare melinda --root /data/melinda --out lists/melinda
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from scripts.preparing.assigned import Assigned, as_splits, present
from scripts.preparing.official import add_root, declare_leaks, find, image_root
from scripts.preparing.table import read_table

__all__ = ["HELP", "add_arguments", "build"]

HELP = "MELINDA: figures of biomedical papers with captions, by the method of the experiment"

_FILES = {"training": "train.csv", "validation": "dev.csv", "test": "test.csv"}
_IMAGES = "melinda_images"
_TARGETS = ("p_meth_label", "i_meth_label", "p_meth", "i_meth")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this data set's options."""
    add_root(parser, "train.csv, dev.csv, test.csv and the folder melinda_images")
    parser.add_argument(
        "--target",
        choices=_TARGETS,
        default=_TARGETS[0],
        help=f"the column with the class; those named _label have fewer, coarser classes (default: {_TARGETS[0]})",
    )


def build(args: argparse.Namespace) -> dict[str, Any]:
    """Make the data list, in the published split.

    Args:
        args: the options of `add_arguments` and the common ones of `scripts.prepare`.

    Returns:
        The data list; `image_root` is absolute. The classes are the sorted names of all splits, so that a class number
        means the same with and without a limit.

    Raises:
        DataError: a file is missing or cut off, lacks a column, or (without `--on-error skip`) a row can't be used.
    """
    tables = {split: _read(find(args.root, name), args.target) for split, name in _FILES.items()}
    classes = sorted({name for table in tables.values() for name in table[args.target].dropna()})
    assigned = present(_items(tables, classes, args), args)
    return declare_leaks(
        {
            "name": "melinda",
            "task": "classification",
            "modality": {"0": "OT"},
            "source": "MELINDA, https://doi.org/10.1609/aaai.v35i16.17657",
            "target": args.target,
            "classes": classes,
            "multilabel": False,
            "image_root": image_root(args.root),
            "split": {"method": "official", "unit": "image", "leak_checked": True},
            **as_splits(assigned, args.seed),
        }
    )


def _read(path: Path, target: str) -> pd.DataFrame:
    return read_table(path, ["figure_file", "caption", target])


def _items(tables: dict[str, pd.DataFrame], classes: Sequence[str], args: argparse.Namespace) -> Iterator[Assigned]:
    number_of = {name: number for number, name in enumerate(classes)}
    rows_of: Counter[str] = Counter()
    for split, table in tables.items():
        for row, (figure, caption, name) in enumerate(table.itertuples(index=False), start=2):
            where = f"{args.root / _FILES[split]} row {row}"
            if figure is None or name is None:
                args.record.reject(where, f"its {'figure_file' if figure is None else args.target} is empty")
            elif caption is None:
                args.record.drop("figure without a caption")
            else:
                rows_of[figure] += 1
                yield split, _item(figure, rows_of[figure], caption, number_of[name])


def _item(figure: str, number: int, caption: str, label: int) -> dict[str, Any]:
    """The item of a figure's row; a figure has as many rows as experiments in it were classified."""
    return {
        "id": figure if number == 1 else f"{figure}#{number}",
        "image": f"{_IMAGES}/{figure}",
        "caption": " ".join(caption.split()),
        "label": label,
    }
