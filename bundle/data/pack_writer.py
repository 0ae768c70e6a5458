"""Writing a packed store: images in parallel, reports beside them, manifest last."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from bundle.data.errors import DataError
from bundle.data.manifest import file_records, ids_sha256, write_json
from bundle.data.pack_images import Render, allocate_images, image_bytes, keep_images, write_images
from bundle.data.pack_layout import GEOMETRY_COLUMNS, STORE_KIND, STORE_VERSION
from bundle.data.partial_folder import PartialFolder
from bundle.data.row_file import RowFile

__all__ = ["PackWriter", "SplitRows"]


@dataclass(frozen=True, eq=False)
class SplitRows:
    """What is stored of one split beside its images; one entry a row, in the order of the data list.

    Attributes:
        ids: id of each item.
        tokens: token ids of each report, `[L]`, of the type they are stored in.
        sentences: sentence number of each token, `[L]` int16, -1 for special tokens.
        codes: `text_id`, `study_id` and `patient`, integers.
    """

    ids: Sequence[str]
    tokens: Sequence[np.ndarray]
    sentences: Sequence[np.ndarray]
    codes: Mapping[str, Sequence[int]]


class PackWriter:
    """Builds a packed store in `STORE.partial` and renames the folder at the end.

    Call `begin`, then for each split `write_images` and `finish_split`, then `publish`. Begun again after an
    interruption with equal `identity`, it goes on where it was, and the result is the same to the byte.

    Args:
        out: folder of the store.
        identity: what the content follows from (`list`, `parameters`); becomes part of the manifest.
        overwrite: replaces a finished store once the new one is complete, and an unfinished one that does not fit.

    Raises:
        DataError: the place is taken, or holds an unfinished store of another identity.

    Example:
        >>> with PackWriter("stores/a", {"list": ..., "parameters": ...}) as writer:  # doctest: +SKIP
        ...     writer.begin({"training": 2}, size=256, token_bytes=4096)
        ...     failures = writer.write_images("training", paths, render, workers=2, failed=stop, advanced=bar.update)
        ...     writer.finish_split("training", rows, failures)
        ...     writer.publish({"sha256": ..., "vocab_size": 4096, "pad_token_id": 0, "source": "..."})
    """

    def __init__(self, out: str | Path, identity: Mapping[str, Any], overwrite: bool = False) -> None:
        self.folder = PartialFolder(out, STORE_KIND, {"schema_version": STORE_VERSION, **identity}, overwrite)
        self._splits: dict[str, dict[str, Any]] = {}
        self._skipped: list[tuple[str, str, str]] = []

    @property
    def tokenizer_folder(self) -> Path:
        """Where the tokenizer belongs before `publish`."""
        return self.folder.path / "tokenizer"

    def begin(self, counts: Mapping[str, int], size: int, token_bytes: int) -> None:
        """Makes the folder and reserves the space of the images, or takes up what an interrupted run left.

        Args:
            counts: rows of each split.
            size: side of the images in pixels, a multiple of 8.
            token_bytes: upper bound of what the tokens of all splits take.

        Raises:
            DataError: not enough disk space (nothing is written then), or another process is at work here.
        """
        self.folder.begin(sum(image_bytes(count, size) for count in counts.values()) + token_bytes)
        with self.folder.full_disk_explained():
            for split, count in counts.items():
                (self.folder.path / split).mkdir(exist_ok=True)
                allocate_images(self.folder.path / split, self._done(split), count, size)

    def _done(self, split: str) -> Path:
        return self.folder.progress / f"{split}.npy"

    def write_images(
        self,
        split: str,
        paths: Sequence[str],
        render: Render,
        workers: int,
        failed: Callable[[int, str], None],
        advanced: Callable[[int], object],
    ) -> dict[int, str]:
        """Renders the images of a split that an earlier run didn't finish.

        Args:
            split: name of the split.
            paths: image file of each row.
            render: makes a row from a path; picklable.
            workers: processes; below 2 everything happens in this one.
            failed: called with row and reason of each unusable file; may raise to stop.
            advanced: called with the number of rows just dealt with, those of earlier runs first.

        Returns:
            Reason of each row that failed.

        Raises:
            DataError: full disk, or a worker died.
        """
        failures: dict[int, str] = {}
        advanced(int(np.load(self._done(split)).sum()))
        with self.folder.full_disk_explained():
            rendering = write_images(self.folder.path / split, self._done(split), paths, render, workers)
            for count, reasons in rendering:
                for row, reason in reasons.items():
                    failed(row, reason)
                failures.update(reasons)
                advanced(count)
        return failures

    def finish_split(
        self, split: str, rows: SplitRows, failures: Mapping[int, str], skipped: Sequence[tuple[str, str]] = ()
    ) -> None:
        """Drops the rows that failed and writes what stands beside the images.

        Args:
            split: name of the split.
            rows: reports and codes of all rows.
            failures: reason of each row whose image failed.
            skipped: id and reason of items that were left out before and have no row.

        Raises:
            DataError: no row is left, or the disk is full.
        """
        kept = [row for row in range(len(rows.ids)) if row not in failures]
        if not kept:
            reasons = [reason for _, reason in skipped] + [failures[row] for row in sorted(failures)]
            raise DataError(f"{self.folder.out}: not one item of {split} could be packed; the first: {reasons[0]}")
        folder, ids = self.folder.path / split, [rows.ids[row] for row in kept]
        codes = {name: [int(values[row]) for row in kept] for name, values in rows.codes.items()}
        with self.folder.full_disk_explained():
            if failures:
                keep_images(folder, self._done(split), kept)
            _write_reports(folder, [rows.tokens[row] for row in kept], [rows.sentences[row] for row in kept])
            write_json(folder / "items.json", {"id": ids, **codes})
        left_out = [*skipped, *((rows.ids[row], failures[row]) for row in sorted(failures))]
        self._skipped += [(split, *entry) for entry in left_out]
        self._splits[split] = {"count": len(kept), "skipped": len(left_out), "ids_sha256": ids_sha256(ids)}

    def publish(self, tokenizer: Mapping[str, Any]) -> Path:
        """Writes the list of skipped items and the manifest, and gives the folder its name.

        Args:
            tokenizer: `sha256`, `vocab_size`, `pad_token_id` and `source`.

        Returns:
            The folder of the store.

        Raises:
            DataError: the disk is full.
        """
        with self.folder.full_disk_explained():
            self._write_skipped()
        files = file_records(self.folder.path, self.folder.files())
        splits = {
            split: {**record, "images_sha256": files[f"{split}/images.npy"]["sha256"]}
            for split, record in self._splits.items()
        }
        fixed = {"kind": STORE_KIND, "geometry_columns": list(GEOMETRY_COLUMNS)}
        made = {"tokenizer": dict(tokenizer), "splits": splits, "files": files}
        return self.folder.publish({**fixed, **self.folder.identity, **made})

    def _write_skipped(self) -> None:
        path = self.folder.path / "skipped.csv"
        path.unlink(missing_ok=True)
        if self._skipped:
            with open(path, "w", newline="", encoding="utf-8") as file:
                csv.writer(file).writerows([("split", "id", "reason"), *self._skipped])

    def __enter__(self) -> PackWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.folder.__exit__(kind, error, trace)


def _write_reports(folder: Path, tokens: Sequence[np.ndarray], sentences: Sequence[np.ndarray]) -> None:
    offsets = np.concatenate([[0], np.cumsum([len(report) for report in tokens])])
    flat = {"tokens": np.concatenate(tokens), "sentences": np.concatenate(sentences), "offsets": offsets}
    for name, values in flat.items():
        RowFile.create(folder / f"{name}.npy", values.shape, values.dtype)
        with RowFile(folder / f"{name}.npy") as file:
            file.write(0, values)
