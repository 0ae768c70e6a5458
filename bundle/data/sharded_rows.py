"""Many rows of one shape in numbered `.npy` files of bounded size, written in batches and gathered by number."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from types import TracebackType

import numpy as np

from bundle.data.row_file import RowFile

__all__ = ["ShardedRows", "ShardedRowsWriter", "create_shards"]

SHARD_BYTES = 2**30


def create_shards(
    folder: Path, count: int, shape: Sequence[int], dtype: type[np.generic], shard_bytes: int = SHARD_BYTES
) -> None:
    """Makes the files of `count` rows of zeros, with their space on disk reserved; what is there is kept.

    Args:
        folder: where the files go; it is made.
        count: rows, 1 or more.
        shape: of one row.
        dtype: of the numbers.
        shard_bytes: most bytes of one file, unless a single row takes more.

    Raises:
        OSError: the disk is full.
    """
    row_bytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
    rows = max(1, shard_bytes // row_bytes)
    folder.mkdir(parents=True, exist_ok=True)
    for number, start in enumerate(range(0, count, rows)):
        RowFile.create(folder / f"{number:05d}.npy", (min(rows, count - start), *shape), dtype)


class ShardedRowsWriter:
    """Writes rows into files of `create_shards`, by any process in any order.

    With the files goes an array of marks, one byte a batch of rows: a batch is marked once it is on the disk, and after
    an interruption exactly the batches without a mark are written again.

    Args:
        folder: of the files.
        marks: `.npy` file of the marks, `[batches]` uint8.

    Example:
        >>> with ShardedRowsWriter(Path("images"), Path("marks.npy")) as rows:  # doctest: +SKIP
        ...     for batch in rows.open_batches():
        ...         rows.write(batch, 64 * batch, encode(batch))
    """

    def __init__(self, folder: Path, marks: Path) -> None:
        self._marks_path = marks
        self._stack = ExitStack()
        self._parts = [self._stack.enter_context(RowFile(path)) for path in sorted(folder.glob("*.npy"))]
        self._starts = np.cumsum([0, *(part.shape[0] for part in self._parts)]).tolist()
        self._marks = self._stack.enter_context(RowFile(marks))
        self._unmarked: list[int] = []

    def open_batches(self) -> list[int]:
        """Numbers of the batches without a mark, ascending."""
        return np.flatnonzero(np.load(self._marks_path) == 0).tolist()

    def write(self, batch: int, row: int, values: np.ndarray) -> None:
        """Writes all rows of a batch, which `settle` marks.

        Args:
            batch: number of the batch.
            row: number of its first row.
            values: its rows, of the type of the files.

        Raises:
            ValueError: another type or shape than that of the files.
            OSError: the disk is full.
        """
        for part, first, piece in self._pieces(row, values):
            part.write(first, piece)
        self._unmarked.append(batch)

    def _pieces(self, row: int, values: np.ndarray) -> Iterator[tuple[RowFile, int, np.ndarray]]:
        """What of the values belongs to which file, and from which of its rows on."""
        for part, (start, end) in zip(self._parts, pairwise(self._starts), strict=True):
            low, high = max(start, row), min(end, row + len(values))
            if low < high:
                yield part, low - start, values[low - row : high - row]

    def settle(self) -> None:
        """Waits until everything written is on the disk, and marks it."""
        if not self._unmarked:
            return
        for part in self._parts:
            part.sync()
        for batch in self._unmarked:
            self._marks.write(batch, np.ones(1, np.uint8))
        self._unmarked = []

    def __enter__(self) -> ShardedRowsWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None or not issubclass(kind, OSError):  # what was written before another error is right
            self.settle()
        self._stack.close()


class ShardedRows:
    """Rows of files of `create_shards`, mapped into memory.

    Args:
        folder: of the files.

    Example:
        >>> ShardedRows(Path("images"))[np.array([5, 0])].shape  # doctest: +SKIP
        (2, 1, 768)
    """

    def __init__(self, folder: Path) -> None:
        # As plain arrays: indexing `np.memmap` itself is slower.
        self._parts = [np.asarray(np.load(path, mmap_mode="r")) for path in sorted(folder.glob("*.npy"))]
        self._starts = np.cumsum([0, *(len(part) for part in self._parts)])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        """The rows of these numbers, `[len(rows), ...]`, as a copy."""
        shard = np.searchsorted(self._starts, rows, side="right") - 1
        gathered = np.empty((len(rows), *self._parts[0].shape[1:]), self._parts[0].dtype)
        for number in np.unique(shard).tolist():
            chosen = shard == number
            gathered[chosen] = self._parts[number][rows[chosen] - self._starts[number]]
        return gathered
