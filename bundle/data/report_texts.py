"""The reports of a data list without their images, tokenized: what a text encoder alone is trained on."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset

from bundle.data.datalist import load_splits, read_datalist
from bundle.data.errors import DataError
from bundle.data.tokenizer_files import load_tokenizer

__all__ = ["ReportTexts", "listed_reports"]


def listed_reports(
    path: str | os.PathLike[str], split: str, report: Callable[[Mapping[str, Any]], str]
) -> list[dict[str, str]]:
    """The distinct reports of a split; a report that several images share is one.

    Args:
        path: the data list; its images need not be there.
        split: `training`, `validation` or `test`.
        report: makes the text of an item, as `report_text`; an item for which it raises a `DataError` has none and is
            left out.

    Returns:
        `text` and `patient` (the item's `id`, where the list names none) of each, in the order of the list.

    Raises:
        DataError: the list can't be used or lacks the split, or no item has a report.
    """
    items = load_splits(read_datalist(path), path, split, check_files="none")[split]
    found: dict[str, str] = {}
    for item in items:
        try:
            found.setdefault(report(item), item.get("patient", item["id"]))
        except DataError:
            continue
    if not found:
        raise DataError(f"{path}: none of the {len(items)} items of {split} has a report; give a list with texts")
    return [{"text": text, "patient": patient} for text, patient in found.items()]


class ReportTexts(Dataset[dict[str, Any]]):
    """Tokenized reports, a whole batch at a time, shortest first; give it to a loader with `collate_fn=as_batch`.

    Args:
        reports: as of `listed_reports`.
        tokenizer: local folder or hub name.
        max_length: tokens, special ones included, at which reports are cut.

    Attributes:
        cut: number of reports that are longer.

    Raises:
        DataError: the tokenizer can't be loaded.

    Example:
        >>> reports = ReportTexts([{"text": "Clear lungs."}], "stores/phantoms/tokenizer")  # doctest: +SKIP
        >>> reports.__getitems__([0])["lengths"]  # doctest: +SKIP
        [5]
    """

    def __init__(
        self, reports: Sequence[Mapping[str, str]], tokenizer: str | os.PathLike[str], max_length: int = 256
    ) -> None:
        loaded = load_tokenizer(os.fspath(tokenizer))
        texts = [report["text"] for report in reports]
        whole = loaded(texts, truncation=False)["input_ids"]
        self.cut = sum(len(ids) > max_length for ids in whole)
        cut = loaded(texts, truncation=True, max_length=max_length)["input_ids"]
        self.tokenizer_folder = Path(tokenizer)
        self._ids = [torch.tensor(ids, dtype=torch.int64) for ids in cut]
        self._pad: int = loaded.pad_token_id

    def __len__(self) -> int:
        return len(self._ids)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """One report: the fields of a batch without their first dimension."""
        return {name: values[0] for name, values in self.__getitems__([range(len(self))[index]]).items()}

    def __getitems__(self, indices: Sequence[int]) -> dict[str, Any]:
        """A collated batch.

        Returns:
            `input_ids` and `attention_mask` `[B, L]` int64, padded on the right; `lengths`, B integers of the host;
            `index` `[B]` int64.
        """
        rows = sorted(indices, key=lambda row: len(self._ids[row]))
        ids = [self._ids[row] for row in rows]
        return {
            "input_ids": pad_sequence(ids, batch_first=True, padding_value=self._pad),
            "attention_mask": pad_sequence([_ones(one) for one in ids], batch_first=True),
            "lengths": [len(one) for one in ids],
            "index": torch.tensor(rows, dtype=torch.int64),
        }


def _ones(ids: Tensor) -> Tensor:
    return torch.ones_like(ids)
