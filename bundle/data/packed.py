"""Reading a packed store: image-report pairs from memory-mapped arrays, a whole batch at a time."""

from __future__ import annotations

import json
import operator
import signal
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from bundle.data.errors import DataError
from bundle.data.manifest import check_contents, check_manifest, check_sizes, ids_sha256, read_manifest
from bundle.data.pack_layout import STORE_KIND, STORE_VERSION
from bundle.data.tokenizer_files import load_tokenizer, tokenizer_sha256

__all__ = ["PackedDataset", "as_batch", "outlive_sigterm", "verify_store"]


class PackedDataset(Dataset[dict[str, Any]]):
    """Reads image-report pairs from one split of a packed store.

    Give it to `torch.utils.data.DataLoader` with `collate_fn=as_batch`: the loader asks for a whole batch at once and
    gets it collated and sorted by ascending report length, which text encoders use to save padding.

    A batch is a dict of

    - `image` `[B, 1, S, S]` uint8, bone bright;
    - `body` `[B, 1, S, S]` bool, the body mask made at packing;
    - `input_ids`, `attention_mask` `[B, L]` int64, padded on the right to the longest report or to `pad_to`;
    - `sentence` `[B, L]` int64, sentence number of each token, -1 for special and pad tokens;
    - `lengths` list of B ints, tokens of each report, on the host;
    - `text_id`, `study_id` `[B]` int64, equal for equal reports and for images of one study;
    - `index` `[B]` int64, row in the split; `id` list of B strings.

    Opening checks the manifest, all file sizes and the ids; `verify_store` also reads the contents. The arrays are
    opened on first use in each process, so the data set is cheap to send to loader workers.

    Args:
        root: folder of the store.
        split: `training`, `validation` or `test`.
        max_length: cuts reports to this many tokens, the closing special token kept; by default as packed.
        pad_to: fixed padded length; by default the longest report of each batch.
        tokenizer: local folder or hub name of the tokenizer that the text encoder expects; compared with the store's.

    Raises:
        DataError: no finished store, another schema version, no such split, damaged files, or another tokenizer; the
            message says what differs.
        ValueError: `max_length` below 2, or `pad_to` below the longest report that may come.

    Example:
        >>> dataset = PackedDataset("stores/phantoms", "training")  # doctest: +SKIP
        >>> sampler = ShardedBatchSampler(dataset, batch_size=64)  # doctest: +SKIP
        >>> loader = DataLoader(dataset, batch_sampler=sampler, collate_fn=as_batch, num_workers=2)  # doctest: +SKIP
    """

    def __init__(
        self,
        root: str | Path,
        split: str,
        max_length: int | None = None,
        pad_to: int | None = None,
        tokenizer: str | Path | None = None,
    ) -> None:
        self.root = Path(root)
        self.split = split
        self.manifest = _open_manifest(self.root)
        if split not in self.manifest["splits"]:
            raise DataError(f"{root}: the store has no split {split!r}, only {', '.join(self.manifest['splits'])}")
        if tokenizer is not None:
            _check_tokenizer(self.root, self.manifest, tokenizer)
        packed_length = self.manifest["parameters"]["max_length"]
        self.max_length = packed_length if max_length is None else min(max_length, packed_length)
        self.pad_to = pad_to
        if self.max_length < 2:
            raise ValueError(f"max_length must be at least 2, got {max_length}")
        if pad_to is not None and pad_to < self.max_length:
            raise ValueError(f"pad_to is {pad_to} but reports have up to {self.max_length} tokens: lower max_length")
        ids, record = self.items["id"], self.manifest["splits"][split]
        if len(ids) != record["count"] or ids_sha256(ids) != record["ids_sha256"]:
            raise DataError(f"{self.root / split / 'items.json'}: its ids differ from those in the manifest")

    def __len__(self) -> int:
        return self.manifest["splits"][self.split]["count"]

    def __getitem__(self, index: int) -> dict[str, Any]:
        """One pair: the fields of a batch without their first dimension, `lengths` an int and `id` a string.

        Raises:
            IndexError: the split has no such row; negative indices count from the end.
        """
        row = range(len(self))[operator.index(index)]
        return {name: values[0] for name, values in self.__getitems__([row]).items()}

    def __getitems__(self, indices: Sequence[int]) -> dict[str, Any]:
        """A collated batch of the rows `indices` (0 or more), sorted by ascending report length, stable.

        Raises:
            IndexError: an index is outside the split.
        """
        rows, lengths = self._checked(indices)
        order = np.argsort(lengths, kind="stable")
        return self._batch(rows[order], lengths[order])

    def reports(self, indices: Sequence[int]) -> dict[str, Any]:
        """`input_ids`, `attention_mask`, `sentence` and `lengths` of the rows `indices`, in their order; no images.

        Raises:
            IndexError: an index is outside the split, or there is none.
        """
        rows, lengths = self._checked(indices)
        return {**self._tokens(rows, lengths), "lengths": lengths.tolist()}

    def _checked(self, indices: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """Row numbers, and the lengths of their reports."""
        rows = np.asarray(indices, np.int64)
        if rows.size == 0 or rows.min() < 0 or rows.max() >= len(self):
            raise IndexError(f"rows must be in 0..{len(self) - 1} and at least one, got {list(indices)}")
        packed = self._arrays["offsets"][rows + 1] - self._arrays["offsets"][rows]
        return rows, np.minimum(packed, self.max_length)

    def _batch(self, rows: np.ndarray, lengths: np.ndarray) -> dict[str, Any]:
        arrays, items = self._arrays, self.items
        image = arrays["images"][rows]
        body = np.unpackbits(arrays["body"][rows], axis=-1).view(bool)
        return {
            "image": torch.from_numpy(image),
            "body": torch.from_numpy(body).view(image.shape),
            **self._tokens(rows, lengths),
            "lengths": lengths.tolist(),
            "text_id": torch.from_numpy(items["text_id"][rows]),
            "study_id": torch.from_numpy(items["study_id"][rows]),
            "id": [items["id"][row] for row in rows.tolist()],
            "index": torch.from_numpy(rows),
        }

    def _tokens(self, rows: np.ndarray, lengths: np.ndarray) -> dict[str, torch.Tensor]:
        """Gathers and pads the reports of a batch in one go: `[B, L]` positions in the flat arrays."""
        start, end = self._arrays["offsets"][rows], self._arrays["offsets"][rows + 1]
        column = np.arange(self.pad_to or lengths.max())
        within = column < lengths[:, None]
        position = np.where(within, start[:, None] + column, 0)
        # A report cut short keeps its closing special token, which has sentence -1.
        closing = (column == lengths[:, None] - 1) & (self._arrays["sentences"][end - 1] == -1)[:, None]
        position = np.where(closing, end[:, None] - 1, position)
        pad = self.manifest["tokenizer"]["pad_token_id"]
        return {
            "input_ids": torch.from_numpy(np.where(within, self._arrays["tokens"][position], pad).astype(np.int64)),
            "attention_mask": torch.from_numpy(within.astype(np.int64)),
            "sentence": torch.from_numpy(np.where(within, self._arrays["sentences"][position], -1).astype(np.int64)),
        }

    @cached_property
    def _arrays(self) -> dict[str, np.ndarray]:
        """Read-only memory maps, as plain arrays: indexing `np.memmap` itself is slower."""
        names = ("images", "body", "tokens", "sentences", "offsets")
        return {name: np.asarray(np.load(self.root / self.split / f"{name}.npy", mmap_mode="r")) for name in names}

    @cached_property
    def items(self) -> dict[str, Any]:
        """Of each row: `id` (list of strings) and the int64 codes `text_id`, `study_id` and `patient` (-1: unknown)."""
        content = json.loads((self.root / self.split / "items.json").read_text(encoding="utf-8"))
        codes = {name: np.asarray(values, np.int64) for name, values in content.items() if name != "id"}
        return {"id": content["id"], **codes}

    @cached_property
    def geometry(self) -> np.ndarray:
        """How each original image was fitted, `[N, 10]` float64, columns as in `GEOMETRY_COLUMNS`."""
        return np.load(self.root / self.split / "geometry.npy")

    @property
    def tokenizer_folder(self) -> Path:
        """The store's own copy of its tokenizer."""
        return self.root / "tokenizer"

    def __getstate__(self) -> dict[str, Any]:
        """Leaves out what can be opened again, so that a worker gets a kilobyte and no array."""
        return {name: value for name, value in self.__dict__.items() if name not in ("_arrays", "items", "geometry")}


def outlive_sigterm(worker: int) -> None:
    """The `worker_init_fn` of loaders in training: the trainer answers SIGTERM, with its workers alive until it saved.

    Not for persistent workers, which Python ends by SIGTERM when the process exits.
    """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def as_batch(batch: dict[str, Any]) -> dict[str, Any]:
    """The `collate_fn` of a `PackedDataset`, whose batches come collated already."""
    return batch


def verify_store(root: str | Path) -> dict[str, Any]:
    """Reads the whole store and compares every file's content with the manifest.

    Returns:
        The manifest.

    Raises:
        DataError: no finished store, or the files that changed.
    """
    manifest = _open_manifest(Path(root))
    check_contents(root, manifest["files"])
    return manifest


def _open_manifest(root: Path) -> dict[str, Any]:
    manifest = read_manifest(root, STORE_KIND)
    check_manifest(manifest, {"schema_version": STORE_VERSION}, root)
    check_sizes(root, manifest["files"])
    return manifest


def _check_tokenizer(root: Path, manifest: dict[str, Any], source: str | Path) -> None:
    tokenizer = load_tokenizer(source)
    expected = {"sha256": tokenizer_sha256(tokenizer), "vocab_size": len(tokenizer)}
    check_manifest(manifest, {"tokenizer": expected}, f"{root} was packed with another tokenizer than {source}")
