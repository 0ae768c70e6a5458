"""Labels on which most readers of an image agree."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from bundle.data.errors import DataError

__all__ = ["majority_labels"]

_YES, _NO = ("1", "1.0"), ("0", "0.0")


def majority_labels(table: pd.DataFrame, source: Path) -> pd.DataFrame:
    """Count the readers of each image.

    Args:
        table: `image_id` and a column a class, of text 1, 0 or None; a row a reader of an image.
        source: the table's file, for messages.

    Returns:
        A row an image, in the order of the table, by its id; 1 where more than half of the readers who said something
        said 1, else 0, and None where no one said anything. In an image without any 1, what a reader gave is uncertain
        (-1): with zeros alone it would pass for one that all found normal.

    Raises:
        DataError: a label is something else, or a row names no image.
    """
    classes = [name for name in table.columns if name != "image_id"]
    labels = table[classes]
    yes, known = labels.isin(_YES), labels.notna()
    if (wrong := known & ~yes & ~labels.isin(_NO)).to_numpy().any():
        row = int(wrong.any(axis=1).to_numpy().argmax())
        name = next(name for name in classes if wrong[name].iloc[row])
        raise DataError(f"{source} row {row + 2}: its {name} is '{labels[name].iloc[row]}'; a label is 1, 0 or empty")
    if table["image_id"].isna().any():
        raise DataError(f"{source}: a row has no image_id")
    image = table["image_id"]
    votes, voters = (part.groupby(image, sort=False).sum() for part in (yes.astype(int), known.astype(int)))
    agreed = (2 * votes > voters).astype(int)
    undecided = (votes > 0).mul(agreed.sum(axis=1) == 0, axis=0)
    return agreed.mask(undecided, -1).astype(object).where(voters > 0, None)
