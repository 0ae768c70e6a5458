from __future__ import annotations

import errno
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundle.data.row_file import RowFile


def test_rows_are_where_numpy_finds_them(tmp_path: Path) -> None:
    path = tmp_path / "rows.npy"
    RowFile.create(path, (4, 2, 3), np.int32)
    with RowFile(path) as rows:
        rows.write(2, np.arange(6, dtype=np.int32).reshape(2, 3))
        rows.write(0, np.full((2, 2, 3), 7, np.int32))
        rows.sync()
        assert rows.read(2).tolist() == [[0, 1, 2], [3, 4, 5]]
    array = np.load(path, mmap_mode="r")
    assert array.shape == (4, 2, 3)
    assert array.dtype == np.int32
    assert array[2].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert (array[:2] == 7).all()
    assert (array[3] == 0).all()


def test_creating_again_keeps_the_rows(tmp_path: Path) -> None:
    path = tmp_path / "rows.npy"
    RowFile.create(path, (3,), np.uint8)
    with RowFile(path) as rows:
        rows.write(1, np.array([9], np.uint8))
    RowFile.create(path, (3,), np.uint8)
    assert np.load(path).tolist() == [0, 9, 0]


@given(st.integers(1, 120), st.data())
def test_kept_rows_move_together(tmp_path_factory: pytest.TempPathFactory, count: int, data: st.DataObject) -> None:
    path = tmp_path_factory.mktemp("rows") / "rows.npy"
    kept = sorted(data.draw(st.sets(st.integers(0, count - 1))))
    values = np.arange(count * 5, dtype=np.uint16).reshape(count, 5)
    RowFile.create(path, values.shape, values.dtype)
    with RowFile(path) as rows:
        rows.write(0, values)
        rows.keep(kept)
    assert np.array_equal(np.load(path), values[kept])
    RowFile.create(path, values.shape, values.dtype)  # as after an interruption: room for all rows again
    assert np.array_equal(np.load(path)[: len(kept)], values[kept])
    assert np.load(path).shape == values.shape


@pytest.mark.parametrize(
    ("row", "values"),
    [
        (0, np.zeros(2, np.int16)),
        (0, np.zeros(3, np.uint8)),
        (1, np.zeros((2, 2), np.uint8)),
        (-1, np.zeros(2, np.uint8)),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, row: int, values: np.ndarray) -> None:
    RowFile.create(tmp_path / "rows.npy", (2, 2), np.uint8)
    with RowFile(tmp_path / "rows.npy") as rows, pytest.raises(ValueError, match="does not fit"):
        rows.write(row, values)


def test_a_full_disk_is_an_error_after_the_part_that_fitted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "rows.npy"
    RowFile.create(path, (1, 8), np.uint8)
    answers = iter([3, OSError(errno.ENOSPC, "full")])
    asked: list[int] = []

    def nearly_full(descriptor: int, data: memoryview, position: int) -> int:
        asked.append(len(data))
        answer = next(answers)
        if isinstance(answer, OSError):
            raise answer
        return answer

    with RowFile(path) as rows:
        monkeypatch.setattr("os.pwrite", nearly_full)
        with pytest.raises(OSError, match="full"):
            rows.write(0, np.ones(8, np.uint8))
    assert asked == [8, 5]
