"""The reports of a data list as rows of a packed store: texts, codes and tokens."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from bundle.data.errors import DataError
from bundle.transforms.tokenize import tokenize_reports

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

__all__ = ["SplitReports", "codes_of_splits", "read_reports", "token_type", "tokenize_split"]

CHUNK_REPORTS = 1024
"""Reports per call of the tokenizer, whose intermediate results take a hundred times the memory of the ids."""


@dataclass
class SplitReports:
    """Items of one split that have a report.

    Attributes:
        items: items of the data list.
        texts: report text of each item.
        skipped: id and reason of the items without one.
    """

    items: list[dict[str, Any]] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)


def read_reports(
    items: Iterable[dict[str, Any]],
    report: Callable[[Mapping[str, Any]], str],
    failed: Callable[[str], None],
) -> SplitReports:
    """Takes the report text of each item.

    Args:
        items: items of one split.
        report: makes the text of an item.
        failed: called with the reason of each item without a report, which names it; may raise to stop.
    """
    reports = SplitReports()
    for item in items:
        try:
            text = report(item)
        except DataError as error:
            failed(str(error))
            reports.skipped.append((item["id"], str(error)))
            continue
        reports.items.append(item)
        reports.texts.append(text)
    return reports


def codes_of_splits(splits: Mapping[str, SplitReports]) -> dict[str, dict[str, list[int]]]:
    """Integer codes of each item, numbered over all splits together.

    Returns:
        For each split `text_id` (equal for texts that differ at most in white space and case), `study_id` (equal for
        items of one `study`; items without one have their own) and `patient` (-1 where unknown).
    """
    text_codes: dict[Hashable, int] = {}
    study_codes: dict[Hashable, int] = {}
    patient_codes: dict[Hashable, int] = {None: -1}
    return {
        split: {
            "text_id": [_code(text_codes, " ".join(text.split()).casefold()) for text in reports.texts],
            "study_id": [_code(study_codes, _study(item)) for item in reports.items],
            "patient": [_code(patient_codes, item.get("patient")) for item in reports.items],
        }
        for split, reports in splits.items()
    }


def _study(item: Mapping[str, Any]) -> tuple[str, str]:
    return ("study", item["study"]) if "study" in item else ("id", item["id"])


def _code(codes: dict[Hashable, int], key: Hashable) -> int:
    return codes.setdefault(key, len(codes) - (None in codes))


def token_type(vocab_size: int) -> type[np.uint16] | type[np.int32]:
    """Smallest type that tokens are stored in."""
    return np.uint16 if vocab_size < 2**16 else np.int32


def tokenize_split(
    tokenizer: PreTrainedTokenizerFast,
    texts: Sequence[str],
    max_length: int,
    advanced: Callable[[int], object],
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Tokens and sentence numbers of each text, in the types they are stored in.

    Args:
        tokenizer: fast tokenizer.
        texts: reports.
        max_length: longer reports are cut.
        advanced: called with the number of reports just tokenised.
    """
    dtype = token_type(len(tokenizer))
    tokens, sentences = [], []
    for start in range(0, len(texts), CHUNK_REPORTS):
        chunk = tokenize_reports(tokenizer, texts[start : start + CHUNK_REPORTS], max_length)
        tokens += [report.input_ids.astype(dtype) for report in chunk]
        sentences += [report.sentence.astype(np.int16) for report in chunk]
        advanced(len(chunk))
    return tokens, sentences
