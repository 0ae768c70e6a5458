"""Encoding the rows of a split, batch by batch, with the device busy while results are written."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from bundle.data.errors import DataError
from bundle.data.pair_feature_writer import feature_rows
from bundle.data.sharded_rows import ShardedRowsWriter
from scripts.caching.encoders import EncoderPair
from scripts.caching.processes import Processes
from scripts.caching.rows import SplitRows

__all__ = ["Clock", "Encoding", "encode_images", "encode_reports"]

_SETTLE_SECONDS = 5.0
"""Between two waits for the disk: at most this much work is done again after a kill."""


@dataclass
class Clock:
    """Where the time of encoding went.

    Attributes:
        reading: seconds of waiting for data.
        total: seconds altogether.
    """

    reading: float = 0.0
    total: float = 0.0


@dataclass(frozen=True, eq=False)
class Encoding:
    """What all splits have in common.

    Attributes:
        encoders: the frozen encoders.
        processes: this process among those that share the work.
        partial: the unfinished folder.
        batch_size: images or reports a batch.
        clock: adds up times.
    """

    encoders: EncoderPair
    processes: Processes
    partial: Path
    batch_size: int
    clock: Clock = field(default_factory=Clock)


def encode_images(encoding: Encoding, split: str, rows: SplitRows) -> None:
    """Encodes this process's share of the images of a split that have no mark yet.

    Raises:
        DataError: features of an image are no numbers in half precision.
        OSError: the disk is full.
    """

    def read(places: range) -> Any:
        return rows.store.__getitems__(places)

    def finish(places: range, batch: Any, features: np.ndarray) -> tuple[int, np.ndarray]:
        in_order = features[np.argsort(batch["index"].numpy())]  # the store sorts a batch by length of reports
        _check(in_order, [rows.pairs.ids[place] for place in places])
        return places[0], in_order

    with feature_rows(encoding.partial, split, "images") as target:
        _encode(encoding, target, f"{split} images", len(rows.pairs.ids), read, encoding.encoders.encode_images, finish)


def encode_reports(encoding: Encoding, split: str, rows: SplitRows) -> None:
    """Encodes this process's share of the distinct reports of a split that have no mark yet.

    Raises:
        DataError: features of a report are no numbers in half precision.
        OSError: the disk is full.
    """
    offsets = rows.pairs.offsets

    def read(places: range) -> Any:
        return rows.store.reports(rows.reports[places.start : places.stop].tolist())

    def finish(places: range, batch: Any, features: np.ndarray) -> tuple[int, np.ndarray]:
        _check(features, [rows.pairs.ids[row] for row in rows.reports[places.start : places.stop]])
        counts = np.diff(offsets[places.start : places.stop + 1])
        return int(offsets[places.start]), features[np.arange(features.shape[1]) < counts[:, None]]

    with feature_rows(encoding.partial, split, "texts") as target:
        _encode(encoding, target, f"{split} reports", len(rows.reports), read, encoding.encoders.encode_reports, finish)


Finish = Callable[[range, Any, np.ndarray], tuple[int, np.ndarray]]


def _encode(
    encoding: Encoding,
    target: ShardedRowsWriter,
    name: str,
    count: int,
    read: Callable[[range], Any],
    encode: Callable[[Any], Tensor],
    finish: Finish,
) -> None:
    """Reads, encodes and writes batches; each is fetched from the device while the next one is computed there."""
    began = time.perf_counter()
    with _Writing(target, finish) as writing, _bar(encoding, target, name, count) as bar:
        for number in _share(encoding, target):
            places = range(number * encoding.batch_size, min((number + 1) * encoding.batch_size, count))
            asked = time.perf_counter()
            batch = read(places)
            encoding.clock.reading += time.perf_counter() - asked
            writing.add(number, places, batch, _Fetched(encode(batch)))
            bar.update(len(places))
    encoding.clock.total += time.perf_counter() - began


def _share(encoding: Encoding, target: ShardedRowsWriter) -> list[int]:
    """The batches without a mark that are this process's."""
    processes = encoding.processes
    return [number for number in target.open_batches() if number % processes.world_size == processes.rank]


def _bar(encoding: Encoding, target: ShardedRowsWriter, name: str, count: int) -> tqdm[NoReturn]:
    """Progress of the first process, in whose share all that was done before counts as done."""
    total = count // encoding.processes.world_size
    done = total - min(total, len(_share(encoding, target)) * encoding.batch_size)
    return tqdm(total=total, initial=done, desc=name, unit="", dynamic_ncols=True, disable=encoding.processes.rank > 0)


class _Writing:
    """Writes a batch when the next one comes, or at the end, and settles the files now and then."""

    def __init__(self, target: ShardedRowsWriter, finish: Finish) -> None:
        self._target = target
        self._finish = finish
        self._waiting: tuple[int, range, Any, _Fetched] | None = None
        self._settled = time.perf_counter()

    def add(self, number: int, places: range, batch: Any, fetched: _Fetched) -> None:
        """Takes a batch that the device is still computing."""
        self._write()
        self._waiting = (number, places, batch, fetched)
        if time.perf_counter() - self._settled > _SETTLE_SECONDS:
            self._target.settle()
            self._settled = time.perf_counter()

    def _write(self) -> None:
        if self._waiting is not None:
            number, places, batch, fetched = self._waiting
            row, values = self._finish(places, batch, fetched.result())
            self._target.write(number, row, np.ascontiguousarray(values))
            self._waiting = None

    def __enter__(self) -> _Writing:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._write()


class _Fetched:
    """A tensor on its way from the device; nothing waits before `result`."""

    def __init__(self, features: Tensor) -> None:
        self._copied: torch.cuda.Event | None = None
        self._host = torch.empty(features.shape, dtype=features.dtype, pin_memory=features.is_cuda)
        self._host.copy_(features, non_blocking=True)
        if features.is_cuda:
            self._copied = torch.cuda.Event()
            self._copied.record()

    def result(self) -> np.ndarray:
        if self._copied is not None:
            self._copied.synchronize()
        return self._host.numpy()


def _check(features: np.ndarray, ids: list[str]) -> None:
    wrong = np.flatnonzero(~np.isfinite(features).all(axis=(1, 2)))
    if len(wrong):
        raise DataError(
            f"item {ids[int(wrong[0])]}: its features are infinite or no numbers in half precision; look at its image "
            "and report, and at the range of images that the encoder expects"
        )
