from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundle.data.sharded_rows import ShardedRows, ShardedRowsWriter, create_shards


def made(folder: Path, count: int = 10, shard_bytes: int = 3 * 2 * 2) -> ShardedRowsWriter:
    """Rows of 2 float16, three a file unless told otherwise, in batches of 4."""
    create_shards(folder / "rows", count, (2,), np.float16, shard_bytes)
    create_shards(folder / "marks", -(-count // 4), (), np.uint8)
    return ShardedRowsWriter(folder / "rows", folder / "marks" / "00000.npy")


def numbers(first: int, count: int) -> np.ndarray:
    return np.arange(2 * first, 2 * (first + count), dtype=np.float16).reshape(count, 2)


def test_rows_are_found_by_number_across_files(tmp_path: Path) -> None:
    with made(tmp_path) as writer:
        for batch in (2, 0, 1):  # in any order
            writer.write(batch, 4 * batch, numbers(4 * batch, min(4, 10 - 4 * batch)))
    assert [np.load(path).shape for path in sorted((tmp_path / "rows").iterdir())] == [(3, 2), (3, 2), (3, 2), (1, 2)]
    rows = ShardedRows(tmp_path / "rows")
    assert len(rows) == 10
    assert rows[np.array([9, 0, 3, 3, 2])].tolist() == [[18, 19], [0, 1], [6, 7], [6, 7], [4, 5]]


@given(st.integers(1, 30), st.integers(1, 70), st.data())
def test_files_of_any_size_hold_the_same_rows(
    tmp_path_factory: pytest.TempPathFactory, count: int, shard_bytes: int, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("rows")
    with made(folder, count, shard_bytes) as writer:
        for batch in writer.open_batches():
            writer.write(batch, 4 * batch, numbers(0, count)[4 * batch : 4 * batch + 4])
    chosen = np.array(data.draw(st.lists(st.integers(0, count - 1), max_size=9)), np.int64)
    assert np.array_equal(ShardedRows(folder / "rows")[chosen], numbers(0, count)[chosen])


def test_a_batch_is_open_until_it_has_settled(tmp_path: Path) -> None:
    writer = made(tmp_path)
    assert writer.open_batches() == [0, 1, 2]
    writer.write(1, 4, numbers(4, 4))
    assert writer.open_batches() == [0, 1, 2]
    writer.settle()
    assert writer.open_batches() == [0, 2]
    writer.write(2, 8, numbers(8, 2))
    writer.__exit__(OSError, OSError("full"), None)
    assert made(tmp_path).open_batches() == [0, 2], "what may not be on the disk has no mark"


def test_what_is_there_is_kept(tmp_path: Path) -> None:
    with made(tmp_path) as writer:
        writer.write(0, 0, numbers(0, 4))
    with made(tmp_path) as writer:
        assert writer.open_batches() == [1, 2]
    assert np.array_equal(ShardedRows(tmp_path / "rows")[np.arange(4)], numbers(0, 4))


def test_rows_of_another_type_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="does not fit float16"), made(tmp_path) as writer:
        writer.write(0, 0, numbers(0, 4).astype(np.float32))
