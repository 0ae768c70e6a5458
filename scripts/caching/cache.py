"""From the options of `scripts.cache_features` to a finished cache."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path
from typing import Any

from bundle.data.errors import DataError
from bundle.data.manifest import check_manifest, read_manifest
from bundle.data.pack_layout import STORE_KIND
from bundle.data.packed import PackedDataset
from bundle.data.pair_feature_writer import PairFeatureWriter
from bundle.data.pair_features import read_cache_manifest
from scripts.caching.encode import Clock, Encoding, encode_images, encode_reports
from scripts.caching.encoders import EncoderPair, load_encoders
from scripts.caching.processes import Processes
from scripts.caching.rows import SplitRows, rows_of

__all__ = ["cache_features"]


def cache_features(
    args: argparse.Namespace, values: Mapping[str, Any], processes: Processes
) -> tuple[dict[str, Any], Clock]:
    """Encodes a packed store into a feature cache; every process comes here.

    Args:
        args: the options of the command line.
        values: ids of the config with other values.
        processes: this one among those that share the work.

    Returns:
        The manifest of the finished cache, and where the time of this process went.

    Raises:
        DataError: unusable store, config, place or disk.
    """
    names = list(read_manifest(args.store, STORE_KIND)["splits"])
    encoders = load_encoders(
        args.config_file, values, PackedDataset(args.store, names[0]), processes.device, args.tokens
    )
    length = encoders.preprocessing["max_length"]
    splits = {name: rows_of(PackedDataset(args.store, name, length), args.tokens) for name in names}
    identity = encoders.identity() | _source(splits[names[0]].store, args.batch_size)
    check_manifest(identity, processes.first_does(lambda: identity), "the encoders of this process are others")
    clock = Clock()
    with ExitStack() as opened:
        writer = _Writer(args, identity, splits, encoders, opened)
        partial, is_complete = processes.first_does(writer.begin)
        if not is_complete:
            with writer.full_disk_explained():
                _fill(Encoding(encoders, processes, partial, args.batch_size, clock), splits)
            processes.wait()
        processes.first_does(writer.publish)
    return read_cache_manifest(args.out), clock


def _source(store: PackedDataset, batch_size: int) -> dict[str, Any]:
    """What the features follow from beside the encoders: the store, and how its rows are put into batches."""
    known = {name: store.manifest[name] for name in ("list", "parameters", "tokenizer")}
    ids = {name: record["ids_sha256"] for name, record in store.manifest["splits"].items()}
    return known | {"store_ids": ids, "batch_size": batch_size}


def _fill(encoding: Encoding, splits: Mapping[str, SplitRows]) -> None:
    for name, rows in splits.items():
        encode_images(encoding, name, rows)
        encode_reports(encoding, name, rows)


class _Writer:
    """The folder as the first process makes it."""

    def __init__(
        self,
        args: argparse.Namespace,
        identity: Mapping[str, Any],
        splits: Mapping[str, SplitRows],
        encoders: EncoderPair,
        opened: ExitStack,
    ) -> None:
        self._args = args
        self._identity = identity
        self._splits = splits
        self._encoders = encoders
        self._opened = opened
        self._writer: PairFeatureWriter | None = None  # in the other processes

    def begin(self) -> tuple[Path, bool]:
        """Makes or takes up the unfinished folder; says where it is, and whether only its name is missing."""
        args = self._args
        writer = self._opened.enter_context(PairFeatureWriter(args.out, self._identity, args.overwrite))
        if not writer.folder.is_complete:
            pairs = {name: rows.pairs for name, rows in self._splits.items()}
            writer.begin(pairs, self._image_shape(), self._encoders.text.width, args.batch_size)
        self._writer = writer
        return writer.folder.path, writer.folder.is_complete

    def _image_shape(self) -> tuple[int, ...]:
        """`(T, C)`, which the first image tells."""
        first = next(iter(self._splits.values())).store.__getitems__([0])
        try:
            return tuple(self._encoders.encode_images(first).shape[1:])
        except ValueError as error:  # such as sides that are no multiple of a patch
            raise DataError(f"frozen_image: {error}") from error

    def full_disk_explained(self) -> AbstractContextManager[None]:
        """As of `PartialFolder`, in the first process."""
        return nullcontext() if self._writer is None else self._writer.folder.full_disk_explained()

    def publish(self) -> None:
        """Gives the complete folder its name."""
        assert self._writer is not None
        self._writer.publish(next(iter(self._splits.values())).store.tokenizer_folder)
