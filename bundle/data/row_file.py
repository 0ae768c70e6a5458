"""An `.npy` file written row by row, by any process in any order."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.lib import format as npy

__all__ = ["RowFile"]


class RowFile:
    """Rows of an `.npy` file by number; `np.load(path, mmap_mode="r")` reads it.

    Rows are written with `pwrite` and not through a memory map: on a full disk that is an `OSError` with a message,
    where a memory map kills the process with SIGBUS.

    Args:
        path: existing `.npy` file in C order.

    Example:
        >>> RowFile.create("rows.npy", (3, 2), np.uint8)  # doctest: +SKIP
        >>> with RowFile("rows.npy") as rows:  # doctest: +SKIP
        ...     rows.write(1, np.array([4, 5], np.uint8))
    """

    def __init__(self, path: str | Path) -> None:
        with open(path, "rb") as file:
            npy.read_magic(file)
            self.shape, _, self.dtype = npy.read_array_header_1_0(file)
            self._start = file.tell()
        self._path = Path(path)
        self._row_bytes = int(np.prod(self.shape[1:])) * self.dtype.itemsize
        self._descriptor = os.open(path, os.O_RDWR)

    @staticmethod
    def create(path: str | Path, shape: Sequence[int], dtype: np.dtype | type) -> None:
        """Makes a file of zeros whose space on disk is reserved, or leaves one of this size as it is.

        Raises:
            OSError: the disk is full.
        """
        with open(path, "r+b" if Path(path).exists() else "w+b") as file:
            npy.write_array_header_1_0(file, _header(shape, dtype))
            file.flush()
            size = file.tell() + int(np.prod(shape)) * np.dtype(dtype).itemsize
            os.posix_fallocate(file.fileno(), 0, size)
            os.ftruncate(file.fileno(), size)

    def write(self, row: int, values: np.ndarray) -> None:
        """Writes one row, or several in a run, from row number `row` on.

        Raises:
            ValueError: the values are of another type, or no whole number of rows inside the file.
            OSError: the disk is full.
        """
        count, rest = divmod(values.nbytes, self._row_bytes)
        if values.dtype != self.dtype or rest or not 0 <= row <= self.shape[0] - count:
            raise ValueError(f"{self._path}: {values.dtype} {values.shape} does not fit {self.dtype} {self.shape}")
        data, position = memoryview(values.tobytes()), self._start + row * self._row_bytes
        while data:  # a nearly full disk takes a part of the data before it refuses the rest
            written = os.pwrite(self._descriptor, data, position)
            data, position = data[written:], position + written

    def read(self, row: int) -> np.ndarray:
        """One row."""
        data = os.pread(self._descriptor, self._row_bytes, self._start + row * self._row_bytes)
        return np.frombuffer(data, self.dtype).reshape(self.shape[1:])

    def keep(self, rows: Sequence[int]) -> None:
        """Moves these rows (ascending) together at the beginning and cuts the rest off; not to be interrupted."""
        for new, old in enumerate(rows):
            if new != old:
                self.write(new, self.read(old))
        self.shape = (len(rows), *self.shape[1:])
        os.ftruncate(self._descriptor, self._start + len(rows) * self._row_bytes)
        with open(self._path, "r+b") as file:
            npy.write_array_header_1_0(file, _header(self.shape, self.dtype))

    def sync(self) -> None:
        """Returns when everything written is on the disk."""
        os.fdatasync(self._descriptor)

    def __enter__(self) -> RowFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._descriptor)


def _header(shape: Sequence[int], dtype: np.dtype | type) -> dict[str, object]:
    """Header fields; numpy pads the header so that its length stays the same whatever the number of rows."""
    return {"descr": npy.dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": tuple(shape)}
