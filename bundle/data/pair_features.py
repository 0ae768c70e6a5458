"""Reading a feature cache: image-report pairs as features of frozen encoders, joined by id, a whole batch at a time."""

from __future__ import annotations

import json
import operator
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from bundle.data.errors import DataError
from bundle.data.manifest import check_contents, check_manifest, check_sizes, ids_sha256, read_manifest
from bundle.data.pair_feature_layout import CACHE_KIND, CACHE_VERSION
from bundle.data.sharded_rows import ShardedRows

__all__ = ["PairFeatures", "read_cache_manifest", "verify_cache"]


class PairFeatures(Dataset[dict[str, Any]]):
    """Reads pairs of image and report features from one split of a feature cache.

    Give it to `torch.utils.data.DataLoader` with `collate_fn=as_batch`, as a `PackedDataset`: the loader asks for a
    whole batch at once and gets it collated, in the order asked for.

    A batch is a dict of

    - `image_features` `[B, T, C]` float16, the pooled vector first;
    - `text_features` `[B, L, C]` float16, the pooled vector first, zeros after the end of a report;
    - `text_mask` `[B, L]` int64, 1 where there is a feature;
    - `lengths` list of B ints, features of each report, on the host;
    - `text_id`, `study_id` `[B]` int64, equal for equal reports and for images of one study;
    - `index` `[B]` int64, place in this data set; `id` list of B strings.

    Image and report of a pair are found by the pair's id and by the key of its report, whatever order they are stored
    in; a report that several images share is stored once.

    Args:
        root: folder of the cache.
        split: `training`, `validation` or `test`.
        expected: fields that the manifest must have, such as the encoders of the run; None: it is not looked at.
        ids: the pairs wanted, in this order; None: all of the split, in the order of the store.

    Raises:
        DataError: no finished cache, no such split, damaged files, other encoders or preprocessing than expected (the
            message lists what differs), or ids that the cache lacks.

    Example:
        >>> dataset = PairFeatures("caches/phantoms", "training")  # doctest: +SKIP
        >>> sampler = ShardedBatchSampler(dataset, batch_size=1024)  # doctest: +SKIP
        >>> loader = DataLoader(dataset, batch_sampler=sampler, collate_fn=as_batch)  # doctest: +SKIP
    """

    def __init__(
        self,
        root: str | Path,
        split: str,
        expected: Mapping[str, Any] | None = None,
        ids: Sequence[str] | None = None,
    ) -> None:
        self.root = Path(root)
        self.split = split
        self.manifest = read_cache_manifest(root)
        check_manifest(self.manifest, expected or {}, f"{root} was cached with other encoders or settings")
        check_sizes(self.root, self.manifest["files"])
        if split not in self.manifest["splits"]:
            raise DataError(f"{root}: the cache has no split {split!r}, only {', '.join(self.manifest['splits'])}")
        self._ids = None if ids is None else list(ids)
        self._length = len(self._join[0])

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> dict[str, Any]:
        """One pair: the fields of a batch without their first dimension, `lengths` an int and `id` a string.

        Raises:
            IndexError: there is no such pair; negative indices count from the end.
        """
        place = range(len(self))[operator.index(index)]
        return {name: values[0] for name, values in self.__getitems__([place]).items()}

    def __getitems__(self, indices: Sequence[int]) -> dict[str, Any]:
        """A collated batch of the pairs `indices`, in their order.

        Raises:
            IndexError: an index is outside the data set, or there is none.
        """
        places = np.asarray(indices, np.int64)
        if places.size == 0 or places.min() < 0 or places.max() >= len(self):
            raise IndexError(f"indices must be in 0..{len(self) - 1} and at least one, got {list(indices)}")
        image_rows, text_rows = self._join
        return {
            "image_features": torch.from_numpy(self._images[image_rows[places]]),
            **self._text_features(text_rows[places]),
            "text_id": torch.from_numpy(self.items["text_id"][places]),
            "study_id": torch.from_numpy(self.items["study_id"][places]),
            "id": [self.items["id"][place] for place in places.tolist()],
            "index": torch.from_numpy(places),
        }

    def _text_features(self, reports: np.ndarray) -> dict[str, Any]:
        """Gathers and pads reports by their numbers in `texts.json`."""
        start = self._offsets[reports]
        lengths = self._offsets[reports + 1] - start
        column = np.arange(lengths.max())
        within = column < lengths[:, None]
        present = self._texts[(start[:, None] + column)[within]]
        features = np.zeros((*within.shape, present.shape[-1]), present.dtype)
        features[within] = present
        return {
            "text_features": torch.from_numpy(features),
            "text_mask": torch.from_numpy(within.astype(np.int64)),
            "lengths": lengths.tolist(),
        }

    @cached_property
    def items(self) -> dict[str, Any]:
        """Of each pair: `id` (list of strings), and `text_id`, `study_id` and `patient` (int64 codes; -1: unknown)."""
        pairs = self._pairs
        codes = {name: np.asarray(pairs[name], np.int64) for name in ("text_id", "study_id", "patient")}
        if self._ids is None:
            return {"id": pairs["id"], **codes}
        rows = _rows(pairs["id"], self._ids, f"{self.root / self.split}: the cache has no features of item")
        return {"id": self._ids, **{name: values[rows] for name, values in codes.items()}}

    @cached_property
    def _pairs(self) -> dict[str, Any]:
        pairs, record = self._json("pairs.json"), self.manifest["splits"][self.split]
        if len(pairs["id"]) != record["count"] or ids_sha256(pairs["id"]) != record["ids_sha256"]:
            raise DataError(f"{self.root / self.split / 'pairs.json'}: its ids differ from those in the manifest")
        return pairs

    @cached_property
    def _join(self) -> tuple[np.ndarray, np.ndarray]:
        """Of each pair the row of its image and the number of its report."""
        place, ids = self.root / self.split, self.items["id"]
        key = dict(zip(self._pairs["id"], self._pairs["text"], strict=True))
        images = _rows(self._json("images.json")["id"], ids, f"{place / 'images.json'}: has no row of item")
        texts = _rows(
            self._json("texts.json")["key"],
            [key[id_] for id_ in ids],
            f"{place / 'texts.json'}: has no report with key",
        )
        return images, texts

    @cached_property
    def _images(self) -> ShardedRows:
        return ShardedRows(self.root / self.split / "images")

    @cached_property
    def _texts(self) -> ShardedRows:
        return ShardedRows(self.root / self.split / "texts")

    @cached_property
    def _offsets(self) -> np.ndarray:
        return np.load(self.root / self.split / "offsets.npy")

    def _json(self, name: str) -> dict[str, Any]:
        return json.loads((self.root / self.split / name).read_text(encoding="utf-8"))

    @property
    def tokenizer_folder(self) -> Path:
        """The cache's own copy of the tokenizer of the reports."""
        return self.root / "tokenizer"

    def __getstate__(self) -> dict[str, Any]:
        """Leaves out what can be opened again, so that a worker gets a kilobyte and no array."""
        opened = ("items", "_pairs", "_join", "_images", "_texts", "_offsets")
        return {name: value for name, value in self.__dict__.items() if name not in opened}


def read_cache_manifest(root: str | Path) -> dict[str, Any]:
    """The manifest of a finished feature cache.

    Raises:
        DataError: there is none, or it has another schema version.
    """
    manifest = read_manifest(root, CACHE_KIND)
    check_manifest(manifest, {"schema_version": CACHE_VERSION}, root)
    return manifest


def verify_cache(root: str | Path) -> dict[str, Any]:
    """Reads the whole cache and compares every file's content with the manifest.

    Returns:
        The manifest.

    Raises:
        DataError: no finished cache, or the files that changed.
    """
    manifest = read_cache_manifest(root)
    check_contents(root, manifest["files"])
    return manifest


def _rows(stored: Sequence[str], wanted: Sequence[str], missing: str) -> np.ndarray:
    """Where in `stored` each of `wanted` is, `[len(wanted)]` int64."""
    place = {name: row for row, name in enumerate(stored)}
    absent = [name for name in wanted if name not in place]
    if absent:
        others = f" and {len(absent) - 1} others" if len(absent) > 1 else ""
        raise DataError(f"{missing} {absent[0]}{others}: cache the list again, or leave them out")
    return np.array([place[name] for name in wanted], np.int64)
