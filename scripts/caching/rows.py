"""The pairs of a packed store as rows of a feature cache: which images, which distinct reports."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bundle.data.packed import PackedDataset
from bundle.data.pair_feature_layout import text_key
from bundle.data.pair_feature_writer import PairRows

__all__ = ["SplitRows", "rows_of"]

_AT_ONCE = 4096  # reports


@dataclass(frozen=True, eq=False)
class SplitRows:
    """What of a split is encoded.

    Attributes:
        store: the split of the packed store; its rows are the images.
        pairs: the rows of the cache.
        reports: row of the store that each distinct report is taken from, `[M]`.
    """

    store: PackedDataset
    pairs: PairRows
    reports: np.ndarray


def rows_of(store: PackedDataset, tokens: bool) -> SplitRows:
    """Finds equal reports, by their tokens, and puts distinct ones in order of length, which saves padding.

    Args:
        store: split of a packed store.
        tokens: whether a row is kept for each token of a report beside that of the whole.
    """
    keys, lengths = _keys(store)
    first: dict[str, int] = {}
    for row, key in enumerate(keys):
        first.setdefault(key, row)
    reports = np.array(list(first.values()), np.int64)
    reports = reports[np.argsort(lengths[reports], kind="stable")]
    counts = 1 + lengths[reports] if tokens else np.ones_like(reports)
    codes = {name: store.items[name].tolist() for name in ("text_id", "study_id", "patient")}
    pairs = PairRows(
        ids=store.items["id"],
        texts=keys,
        codes=codes,
        keys=[keys[row] for row in reports.tolist()],
        offsets=np.concatenate([[0], np.cumsum(counts)]),
    )
    return SplitRows(store, pairs, reports)


def _keys(store: PackedDataset) -> tuple[list[str], np.ndarray]:
    """Key and length of the report of each row."""
    keys: list[str] = []
    lengths: list[int] = []
    for start in range(0, len(store), _AT_ONCE):
        reports = store.reports(range(start, min(start + _AT_ONCE, len(store))))
        tokens = reports["input_ids"].numpy()
        keys += [text_key(ids[:length]) for ids, length in zip(tokens, reports["lengths"], strict=True)]
        lengths += reports["lengths"]
    return keys, np.array(lengths, np.int64)
