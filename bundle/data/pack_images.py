"""Rendering the radiographs of a split into the rows of a packed store, in several processes, resumably."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path

import numpy as np

from bundle.data.errors import DataError
from bundle.data.pack_layout import GEOMETRY_COLUMNS
from bundle.data.row_file import RowFile

__all__ = ["PackedImage", "Render", "allocate_images", "image_bytes", "keep_images", "write_images"]

CHUNK_ROWS = 16
"""Rows per task: about half a second of decoding, so that syncing to disk is rare and a kill loses little."""

_IMAGES, _BODY, _GEOMETRY = "images.npy", "body.npy", "geometry.npy"


@dataclass(frozen=True, eq=False)
class PackedImage:
    """What is stored of one radiograph.

    Attributes:
        image: `[S, S]` uint8, bone bright.
        body: `[S, S]` bool, body mask.
        geometry: `[10]` float64, as in `GEOMETRY_COLUMNS`.
    """

    image: np.ndarray
    body: np.ndarray
    geometry: np.ndarray


Render = Callable[[str], PackedImage]
"""Makes a row from a file; picklable; raises `DataError` for an unusable file."""


def _shapes(count: int, size: int) -> dict[str, tuple[tuple[int, ...], type]]:
    return {
        _IMAGES: ((count, 1, size, size), np.uint8),
        _BODY: ((count, size, size // 8), np.uint8),
        _GEOMETRY: ((count, len(GEOMETRY_COLUMNS)), np.float64),
    }


def image_bytes(count: int, size: int) -> int:
    """Bytes that `count` images of `size` px take on disk, with body masks and geometry."""
    return sum(int(np.prod(shape)) * np.dtype(dtype).itemsize for shape, dtype in _shapes(count, size).values())


def allocate_images(folder: Path, done: Path, count: int, size: int) -> None:
    """Makes the image arrays of a split and its flags of finished rows; what is there already is kept.

    Args:
        folder: folder of the split.
        done: `.npy` file of the flags, `[count]` uint8.
        count: rows.
        size: side of the images in pixels, a multiple of 8.

    Raises:
        OSError: the disk is full.
    """
    for name, (shape, dtype) in _shapes(count, size).items():
        RowFile.create(folder / name, shape, dtype)
    RowFile.create(done, (count,), np.uint8)


def write_images(
    folder: Path, done: Path, paths: Sequence[str], render: Render, workers: int
) -> Iterator[tuple[int, dict[int, str]]]:
    """Renders all rows that aren't flagged as done; a row is flagged once it is on the disk.

    Args:
        folder: folder of the split, allocated.
        done: file of the flags.
        paths: image file of each row.
        render: makes a row from a path.
        workers: processes; below 2 everything happens in this one.

    Yields:
        After each chunk how many rows were dealt with and `{row: reason}` of those that failed.

    Raises:
        DataError: a worker process died.
        OSError: the disk is full.
    """
    open_rows = np.flatnonzero(np.load(done) == 0).tolist()
    chunks = [open_rows[start : start + CHUNK_ROWS] for start in range(0, len(open_rows), CHUNK_ROWS)]
    jobs = [(folder, done, chunk, [paths[row] for row in chunk]) for chunk in chunks]
    if workers < 2 or len(jobs) < 2:
        yield from (_write_chunk(render, *job) for job in jobs)
    else:
        yield from _in_processes(jobs, render, min(workers, len(jobs)))


def _in_processes(
    jobs: Sequence[tuple[Path, Path, list[int], list[str]]], render: Render, workers: int
) -> Iterator[tuple[int, dict[int, str]]]:
    # A fork server imports the decoders once and forks from a process without threads, which plain fork does not.
    # Every worker runs the main module again, so commands that pack keep their imports out of its top level.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([render.__module__])
    pool = ProcessPoolExecutor(workers, context, _start_worker, (render,))
    try:
        futures = [pool.submit(_write_chunk_in_worker, *job) for job in jobs]
        for future in as_completed(futures):
            yield future.result()
    except BrokenProcessPool as error:
        raise DataError(
            f"{jobs[0][0]}: a worker process died, probably for lack of memory or in a broken image decoder; start "
            "again with fewer workers to continue"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


_worker_render: Render


def _start_worker(render: Render) -> None:
    """Keeps the renderer, leaves Ctrl-C to the parent and ends with it: a killed parent can't tell its workers."""
    global _worker_render
    _worker_render = render
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _write_chunk_in_worker(folder: Path, done: Path, rows: list[int], paths: list[str]) -> tuple[int, dict[int, str]]:
    return _write_chunk(_worker_render, folder, done, rows, paths)


def _write_chunk(
    render: Render, folder: Path, done: Path, rows: list[int], paths: list[str]
) -> tuple[int, dict[int, str]]:
    failures: dict[int, str] = {}
    with ExitStack() as stack:
        images, body, geometry, flags = (
            stack.enter_context(RowFile(path)) for path in (folder / _IMAGES, folder / _BODY, folder / _GEOMETRY, done)
        )
        for row, path in zip(rows, paths, strict=True):
            try:
                packed = render(path)
            except DataError as error:
                failures[row] = str(error)
                continue
            images.write(row, packed.image)
            body.write(row, np.packbits(packed.body, axis=-1))
            geometry.write(row, packed.geometry)
        for file in (images, body, geometry):
            file.sync()
        for row in rows:
            if row not in failures:
                flags.write(row, np.ones(1, np.uint8))
    return len(rows), failures


def keep_images(folder: Path, done: Path, rows: Sequence[int]) -> None:
    """Leaves only these rows (ascending) in the image arrays of a split.

    Rows are moved in place, since there may be no room for a second copy. An interruption would leave rows of which
    nobody knows where they belong, so the flags of all rows that move are taken back first.
    """
    with RowFile(done) as flags:
        first = next((new for new, old in enumerate(rows) if new != old), len(rows))
        flags.write(first, np.zeros(flags.shape[0] - first, np.uint8))
        flags.sync()
    for name in (_IMAGES, _BODY, _GEOMETRY):
        with RowFile(folder / name) as file:
            file.keep(rows)
