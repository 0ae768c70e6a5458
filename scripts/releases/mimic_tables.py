"""The tables of a release of MIMIC-CXR-JPG."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from bundle.data.errors import DataError
from scripts.preparing.official import find
from scripts.preparing.table import read_table

__all__ = ["read_release", "read_study_labels"]

StudyLabels = dict[str, list[int | None]]


def read_release(root: Path, name: str, columns: list[str] | None = None) -> pd.DataFrame:
    """Read a table of the release.

    Args:
        root: its folder.
        name: which table, such as "metadata"; it is `mimic-cxr-2.0.0-NAME.csv`, as it is or with `.gz`.
        columns: the columns to read; all by default.

    Returns:
        The table, every cell stripped text or None.

    Raises:
        DataError: the file is missing, damaged, or lacks a column.
    """
    plain = f"mimic-cxr-2.0.0-{name}.csv"
    return read_table(find(root, f"{plain}.gz", plain), columns)


def read_study_labels(root: Path, labeller: str) -> tuple[list[str], StudyLabels]:
    """Read the labels that a program gave to the reports.

    Args:
        root: the release's folder.
        labeller: `chexpert` or `negbio`; their tables have the same form.

    Returns:
        The names of the classes in the table's order; and by study 1, 0, -1 (uncertain) or None (not mentioned).

    Raises:
        DataError: the table is missing or damaged, lacks `study_id`, or holds another value.
    """
    table = read_release(root, labeller)
    classes = [name for name in table.columns if name not in ("subject_id", "study_id")]
    if "study_id" not in table.columns or not classes:
        columns = ", ".join(table.columns)
        raise DataError(f"{root}: the table of {labeller} has no column 'study_id' or no label; it has {columns}")
    try:
        labels = {
            study: [None if value is None else int(float(value)) for value in values]
            for study, *values in table[["study_id", *classes]].itertuples(index=False)
        }
    except ValueError as error:
        raise DataError(f"{root}: the table of {labeller} holds a label that is no number ({error})") from error
    return classes, labels
