"""The text of a report as the text encoder reads it, and its sentences."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Mapping
from typing import Any

from monai.config import KeysCollection
from monai.transforms import MapTransform

from bundle.data.errors import DataError  # the one error of unusable input, whichever room finds it
from bundle.transforms.report_sections import extract_sections

__all__ = [
    "ReportTextd",
    "extract_sections",
    "impression_text",
    "released_report_text",
    "report_text",
    "split_sentences",
]

_ABBREVIATIONS = frozenset(
    ["dr", "mr", "mrs", "ms", "prof", "st", "vs", "cf", "e.g", "i.e", "approx", "fig", "figs"],
)
# A mark, or several ("myalgia. ."), ends a sentence before white space or the end of the text, and also where the
# space was forgotten between two words ("clear.The"); never inside a number ("3.5 cm").
_SENTENCE_END = re.compile(r"(?<![.!?])[.!?]+(?:\s+[.!?]+)*[\"')\]]*(?=\s|$)|(?<=[a-z]{2})[.!?]+(?=[A-Z][a-z])")
_LIST_NUMBER = re.compile(r"\d{1,2}\.")


def report_text(item: Mapping[str, Any]) -> str:
    r"""The report of a data-list item as one line.

    Args:
        item: has `text` (a text, or several that are joined), or `findings`, `impression` or both.

    Returns:
        `text`, else findings and impression joined with a space; every run of white space is one space.

    Raises:
        DataError: the item has none of the keys.

    Example:
        >>> report_text({"findings": "Clear lungs.", "impression": "No acute\n process."})
        'Clear lungs. No acute process.'
    """
    text = item.get("text")
    parts = [item.get("findings"), item.get("impression")] if text is None else text
    joined = parts if isinstance(parts, str) else " ".join(part for part in parts if part)
    return _checked(" ".join(joined.split()), item)


def impression_text(item: Mapping[str, Any]) -> str:
    """The impression of a data-list item as one line: what is found in a few words, as captions say it.

    Args:
        item: as of `report_text`.

    Returns:
        `impression`, or the whole report of an item that has none.

    Raises:
        DataError: the item has none of the keys.

    Example:
        >>> impression_text({"findings": "The heart is large.", "impression": "Cardiomegaly."})
        'Cardiomegaly.'
    """
    impression = item.get("impression")
    return report_text({**item, "text": impression} if impression else item)


def released_report_text(item: Mapping[str, Any]) -> str:
    """The report as G2D's released pre-processing builds it, its peculiarities included.

    Impression and findings are joined without a space, "COMPARISON: ___" is taken out, the text is cut at every ".",
    pieces are stripped, purely numeric ones (list numbers) dropped, and the rest is joined with ". ". Other section
    headers stay. Without findings the impression is used as it is.

    Args:
        item: has `impression`, `findings` or both, or `text`, which is then cut and joined alike.

    Returns:
        The text.

    Raises:
        DataError: the item has none of the keys.

    Example:
        >>> released_report_text({"findings": "Lungs clear.", "impression": "1. No change."})
        'No change. Lungs clear.'
    """
    impression, findings = item.get("impression"), item.get("findings")
    if impression and not findings:
        return str(impression)
    whole = f"{impression or ''}{findings or ''}" or report_text(item)
    pieces = [piece.strip() for piece in whole.replace("COMPARISON: ___", "").split(".")]
    return _checked(". ".join(piece for piece in pieces if not piece.isdigit()).strip(), item)


def split_sentences(text: str) -> list[tuple[int, int]]:
    """Where the sentences of a report begin and end.

    Decimals ("3.5 cm"), abbreviations ("Dr.", "vs.") and list numbers ("1. No change.") don't end a sentence.

    Args:
        text: any text.

    Returns:
        Half-open character spans in order, without white space at either end. They don't overlap, and every character
        that isn't white space lies in one of them.

    Example:
        >>> split_sentences("Lungs clear. 3.5 cm mass.")
        [(0, 12), (13, 25)]
    """
    ends = [match.end() for match in _SENTENCE_END.finditer(text)]
    spans, start = [], 0
    for end in [*ends, len(text)]:
        sentence = text[start:end]
        if not sentence.strip() or (end < len(text) and _goes_on(sentence.strip())):
            continue
        left = start + len(sentence) - len(sentence.lstrip())
        spans.append((left, left + len(sentence.strip())))
        start = end
    return spans


class ReportTextd(MapTransform):
    """Puts a report's text into an item of a data list.

    Args:
        keys: where the text goes.
        report: makes the text from the item: `report_text`, `released_report_text` or your own. A config names it
            with `_target_: bundle.transforms.report.released_report_text` and `_mode_: callable`.

    Example:
        >>> ReportTextd(keys="text")({"id": "a", "impression": "Normal."})["text"]
        'Normal.'
    """

    def __init__(self, keys: KeysCollection = "text", report: Callable[[Mapping[str, Any]], str] = report_text) -> None:
        super().__init__(keys)
        self.report = report

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return a copy of the item with the text under every one of `keys`."""
        text = self.report(data)  # type: ignore[arg-type]
        return {**data, **dict.fromkeys(self.keys, text)}


def _goes_on(sentence: str) -> bool:
    """Whether the text up to a full stop is only the beginning of a sentence."""
    if _LIST_NUMBER.fullmatch(sentence):
        return True
    last_word = sentence.split()[-1].lstrip("([\"'").lower()
    return last_word.endswith(".") and last_word[:-1] in _ABBREVIATIONS


def _checked(text: str, item: Mapping[str, Any]) -> str:
    if not text:
        raise DataError(f"item {item.get('id')}: it has no report, neither 'text' nor 'findings' nor 'impression'")
    return text
