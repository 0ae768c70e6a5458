"""Questions about a phantom whose answers follow from its truth."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from bundle.data.phantom_findings import CLASSES, Finding
from bundle.data.phantom_wording import SIZE_WORDS

__all__ = ["ask_questions"]

_PRESENT = {
    "consolidation": ("Is there a consolidation?", "Does the picture show consolidation?"),
    "pleural effusion": ("Is there a pleural effusion?", "Is there fluid in the pleural space?"),
    "pneumothorax": ("Is there a pneumothorax?", "Is there air in the pleural space?"),
    "nodule": ("Is there a nodule?", "Is a nodule seen in the lungs?"),
    "cardiomegaly": ("Is the heart enlarged?", "Is there cardiomegaly?"),
}


def ask_questions(findings: Sequence[Finding], view: str, rng: np.random.Generator) -> list[dict[str, str]]:
    """Ask about presence, side, place and size.

    Yes and no are kept in balance: for each class that is asked about and present, an absent one is asked about.

    Args:
        findings: what is on the picture.
        view: "PA" or "AP".
        rng: chooses questions and words.

    Returns:
        Four or more dicts of "question", "answer" and "answer_type": "CLOSED" (answered yes or no) or "OPEN".
    """
    return [*_presence(findings, rng), *_sides(findings, rng), *_details(findings), *_whole(findings, view)]


def _presence(findings: Sequence[Finding], rng: np.random.Generator) -> Iterator[dict[str, str]]:
    present = [name for name in CLASSES if any(finding.name == name for finding in findings)]
    absent = [name for name in CLASSES if name not in present]
    asked_in_vain = rng.permutation(absent)[: max(1, len(present))]
    for name in (*present, *map(str, asked_in_vain)):
        question = _PRESENT[name][rng.integers(len(_PRESENT[name]))]
        yield _closed(question, name in present)


def _sides(findings: Sequence[Finding], rng: np.random.Generator) -> Iterator[dict[str, str]]:
    places = {(finding.name, finding.side) for finding in findings}
    for finding in findings:
        if finding.side:
            asked = finding if rng.random() < 0.5 else finding.mirrored()
            yield _closed(f"Is there a {asked.name} on the {asked.side}?", (asked.name, asked.side) in places)


def _details(findings: Sequence[Finding]) -> Iterator[dict[str, str]]:
    names = [finding.name for finding in findings]
    for finding in findings:
        if names.count(finding.name) > 1:
            continue
        if finding.side:
            yield _open(f"On which side is the {finding.name}?", finding.side)
        if finding.zone:
            yield _open(f"Where is the {finding.name}?", f"{finding.side} {finding.zone} zone")
        question = "How severe is the cardiomegaly?" if finding.side is None else f"How large is the {finding.name}?"
        yield _open(question, SIZE_WORDS[finding.name][finding.size])


def _whole(findings: Sequence[Finding], view: str) -> Iterator[dict[str, str]]:
    yield _closed("Is this chest radiograph normal?", not findings)
    if len(findings) <= 1:
        yield _open("Which abnormality is seen?", findings[0].name if findings else "none")
    yield _open("In which projection was the picture taken?", view)


def _closed(question: str, answer: bool) -> dict[str, str]:
    return {"question": question, "answer": "yes" if answer else "no", "answer_type": "CLOSED"}


def _open(question: str, answer: str) -> dict[str, str]:
    return {"question": question, "answer": answer, "answer_type": "OPEN"}
