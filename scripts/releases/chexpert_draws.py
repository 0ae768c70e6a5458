"""Draws of CheXpert images that public code made with numpy and pandas: the 5x200 images and MGCA's validation rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from bundle.data.errors import DataError

__all__ = ["draw_5x200", "draw_mgca"]

_A_CLASS = 200
_VALIDATION = 5_000
_FREE = "No Finding"
"""The one label that 5x200 images may have beside their own."""


def draw_5x200(train: pd.DataFrame, classes: Sequence[str], competition: Sequence[str]) -> pd.DataFrame:
    """Draw 200 frontal images of each of five classes that show nothing else, as GLoRIA and MGCA do (random state 0).

    Args:
        train: rows of train.csv in the order of the file: `frontal`, and a column of 1, 0, -1 and nan for each class.
        classes: names of the 14 classes.
        competition: names of the five, in whose order the images come.

    Returns:
        The rows that are drawn, with their class in the column `group`.

    Raises:
        DataError: there are fewer than 200 such images of a class.

    Example:
        >>> len(draw_5x200(train, classes, competition))  # doctest: +SKIP
        1000
    """
    labels = train[[name for name in classes if name != _FREE]].fillna(0)
    alone = train["frontal"] & (labels == 1).sum(axis=1).eq(1) & (labels != 0).sum(axis=1).eq(1)
    drawn = []
    for name in competition:
        rows = train[alone & (labels[name] == 1)]
        if len(rows) < _A_CLASS:
            raise DataError(
                f"train.csv has {len(rows)} frontal images that show {name} alone; 5x200 draws {_A_CLASS} of them"
            )
        drawn.append(rows.sample(n=_A_CLASS, random_state=0).assign(group=name))
    return pd.concat(drawn)


def draw_mgca(train: pd.DataFrame, drawn: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Split the rows as MGCA's code does, with its leak.

    Once the 5x200 images are left out, rows are numbered anew for the draw of 5,000 (numpy, seed 0), but taken out of
    training by their old numbers: part of the validation rows stays in training, and other rows are lost.

    Args:
        train: rows of train.csv in the order of the file, numbered from 0, lateral views included.
        drawn: the rows of `draw_5x200`.

    Returns:
        Rows for training and for validation; the frontal ones are chosen after that.

    Raises:
        DataError: there are fewer than 5,000 rows.
    """
    rest = train.drop(drawn.index)
    if len(rest) < _VALIDATION:
        raise DataError(f"train.csv has {len(rest)} rows beside those of 5x200; MGCA draws {_VALIDATION} of them")
    positions = np.random.RandomState(0).choice(len(rest), size=_VALIDATION, replace=False)
    return rest.drop(positions, errors="ignore"), rest.iloc[positions]
