"""The tables of CheXpert and where the images of their rows lie, in each of the forms in which it is downloaded."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd

from bundle.data.errors import DataError
from scripts.preparing.official import find
from scripts.preparing.record import Record
from scripts.preparing.table import read_table

__all__ = ["CLASSES", "Release"]

CLASSES = [
    *("No Finding", "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion", "Edema"),
    *("Consolidation", "Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion", "Pleural Other"),
    *("Fracture", "Support Devices"),
]
"""The 14 labels in the order of train.csv; other tables have them in another order, so they are read by name."""

_FOLDERS = ("", "CheXpert-v1.0/", "CheXpert-v1.0-small/", "CheXpert-v1.0 batch 1 (validate & csv)/")
_BATCHES = "CheXpert-v1.0 batch * (train *)"
_TEST = ("test.csv", "test_labels.csv")
_PATH = (
    r"(?P<folder>train|valid|test)/(?P<patient>patient\d+)/(?P<study>study\d+)/"
    r"(?P<file>view\d+_(?:frontal|lateral)\.jpg)$"
)
_LABELS = {"1.0": 1.0, "1": 1.0, "0.0": 0.0, "0": 0.0, "-1.0": -1.0, "-1": -1.0}
_VIEWS = ("AP", "PA")


class Release:
    """A download of CheXpert.

    Args:
        root: the folder that holds train.csv, or the one in which that folder lies.
        record: takes rows that can't be used.

    Attributes:
        has_test: whether the table of the test images is there.

    Raises:
        DataError: there is no train.csv.

    Example:
        >>> Release(Path("CheXpert-v1.0-small"), Record()).read("valid")["frontal"].sum()  # doctest: +SKIP
        202
    """

    def __init__(self, root: Path, record: Record) -> None:
        self._root = root
        self._record = record
        self._tables = find(root, *(f"{folder}train.csv" for folder in _FOLDERS)).parent
        self._test = next((name for name in _TEST if (self._tables / name).is_file()), None)
        self.has_test = self._test is not None

    def read(self, part: str) -> pd.DataFrame:
        """The rows of a table in the order of the file, numbered from 0.

        Args:
            part: `train`, `valid` or `test`.

        Returns:
            `id`, `image` (relative to the root), `patient`, `study`, `view` (`AP`, `PA` or None), `frontal`, and a
            column of 1, 0, -1 and nan (blank) for each of the classes.

        Raises:
            DataError: the table is missing or damaged, or (if the record stops) a row can't be used.
        """
        path = find(self._tables, f"{part}.csv" if part != "test" or self._test is None else self._test)
        table = read_table(path)
        if missing := [name for name in ("Path", *CLASSES) if name not in table.columns]:
            raise DataError(
                f"{path}: there is no column '{missing[0]}'; the columns are {', '.join(map(str, table.columns))}"
            )
        labels = pd.DataFrame({name: table[name].map(_LABELS).astype(float) for name in CLASSES})
        place = table["Path"].astype("string").str.extract(_PATH)
        strange = place["file"].isna() | (labels.isna() & table[CLASSES].notna()).any(axis=1)
        for number in strange[strange].index:
            shown = f"{path.name} line {number + 2} ({table['Path'][number]})"
            self._record.reject(shown, "it needs a Path such as train/patient00001/study1/view1_frontal.jpg and labels")
        views = table["AP/PA"].where(table["AP/PA"].isin(_VIEWS), None) if "AP/PA" in table.columns else None
        rows = self._places(place).assign(view=views).join(labels)
        return rows[~strange].reset_index(drop=True)

    def _places(self, place: pd.DataFrame) -> pd.DataFrame:
        prefix = self._tables.relative_to(self._root).as_posix()
        folder = place["folder"] if prefix == "." else f"{prefix}/" + place["folder"]
        if batches := self._batches():
            batch = place["patient"].map(batches)
            folder = folder.mask(batch.notna() & (place["folder"] == "train"), batch)
        study = place["patient"] + "/" + place["study"]
        return pd.DataFrame(
            {
                "id": place["patient"] + "_" + place["study"] + "_" + place["file"].str.removesuffix(".jpg"),
                "image": folder + "/" + study + "/" + place["file"],
                "patient": place["patient"],
                "study": study,
                "frontal": place["file"].str.contains("frontal", regex=False).fillna(False).astype(bool),
            },
            dtype=object,
        ).astype({"frontal": bool})

    def _batches(self) -> dict[str, str]:
        """The folder of each training patient, where the images are in the folders of batches."""
        return {
            patient: folder.relative_to(self._root).as_posix()
            for folder in sorted(self._root.glob(_BATCHES))
            for patient in os.listdir(folder)
        }
