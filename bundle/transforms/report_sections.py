"""Findings, impression and the other sections of a free-text radiology report.

Reference: the section rules of MIMIC-CXR reports, see A. E. W. Johnson et al., "MIMIC-CXR, a de-identified publicly
available database of chest radiographs with free-text reports", Scientific Data 6, 317 (2019).
"""

from __future__ import annotations

import difflib
import functools
import re

__all__ = ["extract_sections"]

# Headers stand at the start of a line: capitals with spaces and ()/,- between them, then a colon. A few names that
# other hospitals write in title case are taken as well.
_TITLE_CASE = "Findings|Impression|Conclusion|Indication|Comparison|Technique|History|Examination"
_LINE_HEADER = re.compile(rf"^[ \t]*(\(?[A-Z][A-Z ()/,\-]*|{_TITLE_CASE}):(?=\s|$)", re.MULTILINE)
# A table's cell often holds a report whose line breaks were lost: there only known names are safe to take as headers.
_FLAT_HEADER = re.compile(rf"(?:^|(?<=\s))({_TITLE_CASE}|{_TITLE_CASE.upper()}):(?=\s|$)")
_BLANK_LINE = re.compile(r"\n[ \t]*\n")

_NAMES = {
    "findings": "findings",
    "impression": "impression",
    "conclusion": "impression",
    "summary": "impression",
    "indication": "indication",
    "clinical indication": "indication",
    "reason for exam": "indication",
    "reason for examination": "indication",
    "reason for study": "indication",
    "history": "history",
    "clinical history": "history",
    "clinical information": "history",
    "patient history": "history",
    "comparison": "comparison",
    "technique": "technique",
    "examination": "examination",
    "exam": "examination",
    "study": "examination",
    "procedure": "examination",
    "recommendation": "recommendation",
    "notification": "notification",
}
# A header made of these words alone ("PORTABLE CHEST", "PA AND LATERAL") opens a description of the image ...
_PROJECTION_WORDS = frozenset(["ap", "chest", "frontal", "lat", "lateral", "pa", "portable", "radiograph", "xray"])
# ... also with these between them ("SINGLE VIEW OF THE CHEST").
_FILLING_WORDS = frozenset(
    ["a", "and", "erect", "of", "one", "ray", "single", "supine", "the", "two", "upright", "view", "views", "x"]
)
_CLOSE_ENOUGH = 0.85
"""Likeness (0 to 1) at which a header counts as a misspelt name: "IMPRESSSION", "FINDIGNS", "COMPARISIONS"."""


def extract_sections(report: str) -> dict[str, str]:
    r"""Split a report at its headers.

    Headers are mended and unified: misspellings, "CONCLUSION" and "FINDINGS AND IMPRESSION" (both impression), and
    names of projections such as "CHEST, TWO VIEWS" (findings). Where a section occurs more than once, the last one
    with any text counts. A report with neither findings nor impression yields `last_paragraph`, what follows the first
    blank line of its last section with text, if there is one. Text before the first header is `preamble`.

    Args:
        report: the whole text, with any kind of line break.

    Returns:
        Text by lower-case section name, runs of white space made one space; sections without text are left out.

    Example:
        >>> extract_sections("CHEST RADIOGRAPH\n\n FINDINGS:  Clear\n lungs.\n\n IMPRESSION: Normal.")
        {'preamble': 'CHEST RADIOGRAPH', 'findings': 'Clear lungs.', 'impression': 'Normal.'}
    """
    text = report.replace("\r\n", "\n").replace("\r", "\n")
    parts = [(name, body) for name, body in _parts(text) if body.strip()]
    if parts and not {"findings", "impression"} & {name for name, _ in parts}:
        parts = _with_last_paragraph(parts)
    return {name: " ".join(body.split()) for name, body in parts}


def _parts(text: str) -> list[tuple[str, str]]:
    header = _LINE_HEADER if "\n" in text.strip() else _FLAT_HEADER
    matches = list(header.finditer(text))
    ends = [match.start() for match in matches] + [len(text)]
    parts = [("preamble", text[: ends[0]])]
    for match, end in zip(matches, ends[1:], strict=True):
        parts.append((_unified(match.group(1)), text[match.end() : end]))
    return parts


@functools.lru_cache(maxsize=4096)  # a corpus has few different headers
def _unified(header: str) -> str:
    name = " ".join(re.sub(r"[^a-z]+", " ", header.lower()).split())
    words = set(name.split())
    if words & {"impression", "impressions"}:
        return "impression"
    if words & _PROJECTION_WORDS and words <= _PROJECTION_WORDS | _FILLING_WORDS:
        return "findings"
    close = difflib.get_close_matches(name, _NAMES, n=1, cutoff=_CLOSE_ENOUGH)
    return _NAMES[close[0]] if close else name


def _with_last_paragraph(parts: list[tuple[str, str]]) -> list[tuple[str, str]]:
    name, body = parts[-1]
    split = _BLANK_LINE.split(body.strip(), maxsplit=1)
    if len(split) == 1:
        return parts
    return [*parts[:-1], (name, split[0]), ("last_paragraph", split[1])]
