"""Writing a feature cache of image-report pairs: rows in any order by several processes, manifest last."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import numpy as np

from bundle.data.errors import DataError
from bundle.data.manifest import file_records, ids_sha256, write_json
from bundle.data.pair_feature_layout import CACHE_KIND, CACHE_VERSION
from bundle.data.partial_folder import PartialFolder
from bundle.data.sharded_rows import SHARD_BYTES, ShardedRowsWriter, create_shards

__all__ = ["PairFeatureWriter", "PairRows", "feature_rows"]

Kind = Literal["images", "texts"]


@dataclass(frozen=True, eq=False)
class PairRows:
    """The rows of one split of a cache.

    Attributes:
        ids: id of each pair, which is also that of its image; N.
        texts: key of each pair's report.
        codes: `text_id`, `study_id` and `patient` of each pair, integers.
        keys: key of each distinct report, in the order of the text rows; M.
        offsets: `[M + 1]` int64, first row of each distinct report, and the number of rows.
    """

    ids: Sequence[str]
    texts: Sequence[str]
    codes: Mapping[str, Sequence[int]]
    keys: Sequence[str]
    offsets: np.ndarray


class PairFeatureWriter:
    """Builds a feature cache in `CACHE.partial` and renames the folder at the end.

    One process calls `begin` and, when all rows are marked, `publish`; in between any number of processes write rows
    through `feature_rows`. Begun again after an interruption with equal `identity`, it goes on where it was, and the
    result is the same to the byte.

    Args:
        out: folder of the cache.
        identity: what the content follows from; becomes part of the manifest.
        overwrite: replaces a finished cache once the new one is complete, and an unfinished one that does not fit.

    Raises:
        DataError: the place is taken, or holds an unfinished cache of another identity, with what differs.

    Example:
        >>> with PairFeatureWriter("caches/a", identity) as writer:  # doctest: +SKIP
        ...     writer.begin({"training": pairs}, image_shape=(1, 512), text_width=256, batch_size=64)
        ...     with feature_rows(writer.folder.path, "training", "images") as rows:
        ...         rows.write(0, 0, features)
        ...     writer.publish("stores/a/tokenizer")
    """

    def __init__(self, out: str | Path, identity: Mapping[str, Any], overwrite: bool = False) -> None:
        self.folder = PartialFolder(out, CACHE_KIND, {"schema_version": CACHE_VERSION, **identity}, overwrite)
        self._splits: dict[str, PairRows] = {}
        self._shapes: dict[str, list[int]] = {}

    def begin(
        self,
        splits: Mapping[str, PairRows],
        image_shape: Sequence[int],
        text_width: int,
        batch_size: int,
        shard_bytes: int = SHARD_BYTES,
    ) -> None:
        """Makes the folder and reserves its space, or takes up what an interrupted run left.

        Args:
            splits: pairs of each split.
            image_shape: `(T, C)` of an image.
            text_width: C of a position of a text.
            batch_size: images or distinct reports a batch, the unit of marks.
            shard_bytes: most bytes of one file of rows.

        Raises:
            DataError: not enough disk space (nothing is written then), or another process is at work here.
        """
        self._splits = dict(splits)
        self._shapes = {"images": list(image_shape), "texts": [text_width]}
        rows = {split: {"images": len(pairs.ids), "texts": int(pairs.offsets[-1])} for split, pairs in splits.items()}
        sizes = {kind: int(np.prod(shape)) * 2 for kind, shape in self._shapes.items()}
        self.folder.begin(sum(count * sizes[kind] for counts in rows.values() for kind, count in counts.items()))
        with self.folder.full_disk_explained():
            for split, pairs in splits.items():
                for kind, entries in (("images", pairs.ids), ("texts", pairs.keys)):
                    place = self.folder.path / split / kind
                    create_shards(place, rows[split][kind], self._shapes[kind], np.float16, shard_bytes)
                    batches = -(-len(entries) // batch_size)
                    create_shards(_marks(self.folder.path, split, kind).parent, batches, (), np.uint8)
                _write_index(self.folder.path / split, pairs)

    def publish(self, tokenizer: str | Path) -> Path:
        """Writes the manifest and gives the folder its name; a folder that has a manifest already gets the name alone.

        Args:
            tokenizer: folder of the store's tokenizer, which is copied.

        Returns:
            The folder of the cache.

        Raises:
            DataError: rows are missing, or the disk is full.
        """
        if self.folder.is_complete:
            return self.folder.publish()
        with self.folder.full_disk_explained():
            shutil.copytree(tokenizer, self.folder.path / "tokenizer", dirs_exist_ok=True)
        missing = [split for split in self._splits if not self._is_complete(split)]
        if missing:
            raise DataError(f"{self.folder.path}: {', '.join(missing)}: rows are missing; start again to go on")
        splits = {
            split: {
                "count": len(pairs.ids),
                "texts": len(pairs.keys),
                "ids_sha256": ids_sha256(pairs.ids),
                "shapes": {"images": self._shapes["images"], "texts": self._shapes["texts"]},
            }
            for split, pairs in self._splits.items()
        }
        files = file_records(self.folder.path, self.folder.files())
        fixed = {"kind": CACHE_KIND, "dtype": "float16"}
        return self.folder.publish({**fixed, **self.folder.identity, "splits": splits, "files": files})

    def _is_complete(self, split: str) -> bool:
        kinds: tuple[Kind, Kind] = ("images", "texts")
        return all(bool(np.load(_marks(self.folder.path, split, kind)).all()) for kind in kinds)

    def __enter__(self) -> PairFeatureWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.folder.__exit__(kind, error, trace)


def feature_rows(partial: Path, split: str, kind: Kind) -> ShardedRowsWriter:
    """The rows of one kind of a cache that is being made, to be written by any process.

    Args:
        partial: the unfinished folder, `writer.folder.path`.
        split: name of the split.
        kind: `images` or `texts`.
    """
    return ShardedRowsWriter(partial / split / kind, _marks(partial, split, kind))


def _marks(partial: Path, split: str, kind: str) -> Path:
    return partial / ".progress" / f"{split}.{kind}" / "00000.npy"


def _write_index(folder: Path, pairs: PairRows) -> None:
    codes = {name: [int(value) for value in values] for name, values in pairs.codes.items()}
    write_json(folder / "pairs.json", {"id": list(pairs.ids), "text": list(pairs.texts), **codes})
    write_json(folder / "images.json", {"id": list(pairs.ids)})
    write_json(folder / "texts.json", {"key": list(pairs.keys)})
    np.save(folder / "offsets.npy", pairs.offsets.astype(np.int64))
