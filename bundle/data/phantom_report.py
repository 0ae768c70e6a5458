"""Reports of phantoms: sentences in changing words and order, each true of the picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bundle.data import phantom_wording as wording
from bundle.data.phantom_findings import CLASSES, SIDES, Finding, all_findings

__all__ = ["phrase", "prompts", "write_report"]

_SHARE_SAID = 0.7  # of the negatives and of the clear side
_SHARE_ASIDE = 0.3  # of remarks on bones, mediastinum, inspiration and projection


def write_report(
    findings: Sequence[Finding], view: str, poorly_inflated: bool, rng: np.random.Generator
) -> dict[str, str]:
    """Write the report of a picture.

    Each finding is stated with its side and zone, mostly with its size; the heart is always spoken of; other
    negatives and normal structures are mentioned now and then. The order of sentences is random.

    Args:
        findings: what is on the picture.
        view: "PA" or "AP".
        poorly_inflated: whether the lungs are short.
        rng: chooses words and order.

    Returns:
        Sections "findings" and "impression", both never empty.
    """
    said = [_fill(_pick(rng, wording.STATED[finding.name]), finding) for finding in findings]
    said += _absences(findings, rng)
    said += _asides(view, poorly_inflated, rng)
    order = rng.permutation(len(said))
    return {"findings": " ".join(said[k] for k in order), "impression": _conclude(findings, rng)}


def phrase(finding: Finding) -> str:
    """One plain sentence for a finding, worded as reports word it; what grounding asks for.

    Example:
        >>> phrase(Finding("pleural effusion", "left"))
        'There is a left pleural effusion.'
    """
    return _fill(wording.STATED[finding.name][0], finding)


def prompts() -> dict[str, dict[str, list[str]]]:
    """Zero-shot prompts of each class that read like the reports.

    Returns:
        By class "pos", one sentence a place, and "neg".
    """
    return {
        name: {
            "pos": [phrase(finding) for finding in all_findings() if finding.name == name],
            "neg": list(wording.NEGATIVES[name]),
        }
        for name in CLASSES
    }


def _absences(findings: Sequence[Finding], rng: np.random.Generator) -> list[str]:
    present = {finding.name for finding in findings}
    absent = [name for name in CLASSES if name not in present]
    said = []
    if "cardiomegaly" in absent:
        said.append(_pick(rng, wording.NEGATIVES["cardiomegaly"]))
    joint = [names for names in wording.JOINT_NEGATIVES if present.isdisjoint(names)]
    spoken: tuple[str, ...] = ("cardiomegaly",)
    if joint and rng.random() < 0.5:
        names = joint[rng.integers(len(joint))]
        said.append(_pick(rng, wording.JOINT_NEGATIVES[names]))
        spoken += names
    for name in absent:
        if name not in spoken and rng.random() < _SHARE_SAID:
            said.append(_pick(rng, wording.NEGATIVES[name]))
    return said + _clear_lungs(findings, rng)


def _clear_lungs(findings: Sequence[Finding], rng: np.random.Generator) -> list[str]:
    ill = {finding.side for finding in findings if finding.side}
    if rng.random() > _SHARE_SAID or len(ill) == len(SIDES):
        return []
    if not ill:
        return [_pick(rng, wording.CLEAR_LUNGS)]
    healthy = next(side for side in SIDES if side not in ill)
    return [_capitalise(_pick(rng, wording.CLEAR_SIDE).format(side=healthy))]


def _asides(view: str, poorly_inflated: bool, rng: np.random.Generator) -> list[str]:
    inspiration = wording.POORLY_INFLATED if poorly_inflated else wording.INFLATED
    choices = (
        wording.BONES,
        wording.MEDIASTINUM,
        wording.VASCULARITY,
        wording.ELSEWHERE,
        inspiration,
        wording.TAKEN,
    )
    return [_pick(rng, choice).format(view=view) for choice in choices if rng.random() < _SHARE_ASIDE]


def _conclude(findings: Sequence[Finding], rng: np.random.Generator) -> str:
    if not findings:
        return _pick(rng, wording.HEALTHY)
    said = [_fill(_pick(rng, wording.CONCLUDED[finding.name]), finding) for finding in findings]
    said = [said[k] for k in rng.permutation(len(said))]
    if rng.random() < _SHARE_ASIDE:
        said.append(_pick(rng, wording.NOTHING_ELSE))
    return " ".join(said)


def _fill(template: str, finding: Finding) -> str:
    size = wording.SIZE_WORDS[finding.name][finding.size]
    filled = template.format(side=finding.side, zone=finding.zone, size=size, degree=wording.DEGREES[finding.size])
    return _capitalise(filled)


def _capitalise(sentence: str) -> str:
    return sentence[0].upper() + sentence[1:]


def _pick(rng: np.random.Generator, sentences: Sequence[str]) -> str:
    return sentences[int(rng.integers(len(sentences)))]
