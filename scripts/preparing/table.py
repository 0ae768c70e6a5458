"""CSV and Parquet tables as text: numbers that name a patient or a study keep their leading zeros."""

from __future__ import annotations

import csv
import gzip
import zlib
from collections import deque
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from bundle.data.errors import DataError

__all__ = ["find_column", "read_table"]


def read_table(path: str | Path, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Read a table, every cell as text.

    Args:
        path: `.csv`, `.tsv` (also with `.gz`) or `.parquet`.
        columns: the columns to read; all by default.

    Returns:
        Cells stripped of white space around them; empty ones, and the usual words for nothing ("NA", "null"), are None.

    Raises:
        DataError: the file can't be read, is no such table, is empty, is cut off in its last row, or lacks a column.

    Example:
        >>> read_table("pairs.csv")["patient_id"].iloc[0]  # doctest: +SKIP
        '0097'
    """
    path = Path(path)
    try:
        table = _read(path)
    except DataError:
        raise
    except OSError as error:
        raise DataError(f"{path}: the table can't be read ({error.strerror or error})") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: the table isn't UTF-8 text; save it as UTF-8") from error
    except (ValueError, EOFError, zlib.error) as error:  # pandas' and pyarrow's own errors are ValueErrors
        raise DataError(f"{path}: not a readable table ({' '.join(str(error).split())})") from error
    table.columns = [str(name).strip() for name in table.columns]
    if not len(table) or not table.columns.is_unique:
        raise DataError(f"{path}: the table has {'two columns of one name' if len(table) else 'no rows'}")
    for name in columns or ():
        find_column(table, path, name)
    return _as_text(table if columns is None else table[list(columns)])


def find_column(table: pd.DataFrame, source: str | Path, name: str) -> str:
    """Make sure that a table has a column.

    Args:
        table: the table.
        source: its file, for the message.
        name: the column.

    Returns:
        `name`.

    Raises:
        DataError: the table lacks it; the message lists the columns there are.
    """
    if name not in table.columns:
        raise DataError(f"{source}: there is no column '{name}'; the columns are {', '.join(table.columns)}")
    return name


def _read(path: Path) -> pd.DataFrame:
    kind = path.name.removesuffix(".gz").rpartition(".")[2].lower()
    if kind == "parquet":
        return pd.read_parquet(path)
    if kind in ("csv", "tsv"):
        separator = "," if kind == "csv" else "\t"
        _check_last_row(path, separator)
        return pd.read_csv(path, dtype=str, sep=separator, encoding="utf-8-sig")
    raise DataError(f"{path}: a table must be a .csv, .tsv or .parquet file")


def _check_last_row(path: Path, separator: str) -> None:
    """Refuse a file that ends within a row, as a download does that was cut off; pandas would fill the row up."""
    with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8-sig", newline="") as file:
        rows = csv.reader(file, delimiter=separator)
        columns = len(next(rows, []))
        last = deque((row for row in rows if row), maxlen=1)
    if last and len(last[0]) < columns:
        raise DataError(
            f"{path}: its last row has {len(last[0])} of {columns} cells; the file was cut off, download it again"
        )


def _as_text(table: pd.DataFrame) -> pd.DataFrame:
    text = pd.DataFrame({name: _column_as_text(table[name]) for name in table.columns}, dtype=object)
    return text.where(text.notna(), None)


def _column_as_text(column: pd.Series) -> pd.Series:
    if pd.api.types.is_float_dtype(column) and (column.dropna() % 1 == 0).all():
        column = column.astype("Int64")  # whole numbers with gaps are read as floats: 97.0 is patient 97
    text = column.astype("string").str.strip()
    return text.mask(text == "").astype(object)
