"""Phantom radiographs: drawn chest X-rays whose truth is known exactly. They are SYNTHETIC, of no patient.

A phantom is a pure function of its seed. Anatomy, exposure and noise come from random streams of their own, so that
the same patient can be drawn again without the finding, or with it on the other side, and nothing else changes.
The patient's left is on the image's right, as on every radiograph.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bundle.data.errors import DataError
from bundle.data.phantom_anatomy import Anatomy, body_outline, heart_outline, knob, lung_outline, sample_anatomy
from bundle.data.phantom_canvas import Canvas
from bundle.data.phantom_density import radiodensity
from bundle.data.phantom_exposure import Exposure, develop, sample_exposure
from bundle.data.phantom_findings import CLASSES, SIDES, Finding, ordered, sample_findings
from bundle.data.phantom_lesions import HEART_RATIO, Lesion, Thorax, draw_lesion
from bundle.data.phantom_questions import ask_questions
from bundle.data.phantom_report import write_report

__all__ = ["SYNTHETIC", "Phantom", "draw_phantom", "patient_of"]

SYNTHETIC = "Synthetic phantom radiograph, drawn by a program; not a picture of any patient"
"""What every file that holds a phantom says of itself."""

Mask = npt.NDArray[np.bool_]

_ANATOMY, _EXPOSURE, _NOISE, _FINDINGS, _FORM, _REPORT = range(6)
_SMALLEST = 64
_PAIR = 4  # every fourth seed is the second picture of the patient before it


@dataclass(frozen=True, eq=False)
class Phantom:
    """A synthetic chest radiograph and the whole truth about it.

    Args:
        seed: it was drawn from.
        image: uint8 `[S, S]`, bone bright, upright.
        findings: what was drawn, sorted by name and place; empty for a normal picture.
        finding_masks: truth of each finding, bool `[S, S]`, parallel to `findings`.
        anatomy: bool `[S, S]` by name: "left lung" and "right lung" (visible lung with the diseased parts of it),
            "heart", "body".
        report: sections "findings" and "impression".
        questions: dicts of "question", "answer" and "answer_type" ("CLOSED" or "OPEN").
        patient: identifier; some patients own two phantoms.
        view: "PA" or "AP".
    """

    seed: int
    image: npt.NDArray[np.uint8]
    findings: tuple[Finding, ...]
    finding_masks: tuple[Mask, ...]
    anatomy: dict[str, Mask]
    report: dict[str, str]
    questions: list[dict[str, str]]
    patient: str
    view: str

    @property
    def masks(self) -> dict[str, Mask]:
        """Truth by name, the union over places where a finding occurs twice; only what is present."""
        return {name: self.mask(name) for name, label in zip(CLASSES, self.labels, strict=True) if label}

    @property
    def labels(self) -> list[int]:
        """Multi-hot in the order of `CLASSES`."""
        present = {finding.name for finding in self.findings}
        return [int(name in present) for name in CLASSES]

    @property
    def boxes(self) -> list[list[int]]:
        """The tight half-open box [x1, y1, x2, y2] in pixels of each finding, parallel to `findings`."""
        return [_box(mask) for mask in self.finding_masks]

    @property
    def box_labels(self) -> list[int]:
        """Index in `CLASSES` of each box."""
        return [CLASSES.index(finding.name) for finding in self.findings]

    def mask(self, name: str, side: str | None = None, zone: str | None = None) -> Mask:
        """Truth of all findings of a name, on one side or in one zone if asked for; empty where there is none.

        Args:
            name: one of `CLASSES`.
            side: "left", "right" or None for both.
            zone: "upper", "middle", "lower" or None for all.

        Returns:
            bool `[S, S]`.
        """
        union = np.zeros(self.image.shape, bool)
        for finding, mask in zip(self.findings, self.finding_masks, strict=True):
            if finding.name == name and side in (None, finding.side) and zone in (None, finding.zone):
                union |= mask
        return union


def draw_phantom(seed: int, size: int = 256, findings: Sequence[Finding] | None = None) -> Phantom:
    """Draw one phantom.

    Args:
        seed: not negative; decides everything.
        size: side length in pixels, at least 64; the same seed shows the same body at every size.
        findings: draw exactly these (none: a normal picture) into the seed's patient; default: what the seed says.

    Returns:
        The phantom with masks, boxes, report and questions.

    Raises:
        DataError: the seed or the size is too small, or a finding is given twice at one place.

    Example:
        >>> phantom = draw_phantom(7, findings=[Finding("pleural effusion", "left")])
        >>> moved = draw_phantom(7, findings=[finding.mirrored() for finding in phantom.findings])
    """
    _check(seed, size, findings)
    if findings is None:
        findings = sample_findings(np.random.default_rng([seed, _FINDINGS]))
    present = ordered(findings)
    anatomy = sample_anatomy(np.random.default_rng([_first_seed(seed), _ANATOMY]))
    exposure = sample_exposure(np.random.default_rng([seed, _EXPOSURE]))
    thorax = _lay_out(anatomy, exposure, size, present)
    lesions = [_form(thorax, finding, seed) for finding in present]
    density = radiodensity(thorax, exposure.view, lesions)
    words = np.random.default_rng([seed, _REPORT])
    return Phantom(
        seed=seed,
        image=develop(density, exposure, np.random.default_rng([seed, _NOISE])),
        findings=present,
        finding_masks=tuple(lesion.mask for lesion in lesions),
        anatomy=_structures(thorax),
        report=write_report(present, exposure.view, anatomy.poorly_inflated, words),
        questions=ask_questions(present, exposure.view, words),
        patient=patient_of(seed),
        view=exposure.view,
    )


def patient_of(seed: int) -> str:
    """The patient whom a seed shows; every fourth seed is a second picture of the patient of the seed before."""
    return f"phantom-patient-{_first_seed(seed)}"


def _check(seed: int, size: int, findings: Sequence[Finding] | None) -> None:
    if seed < 0:
        raise DataError(f"a phantom can't be drawn from seed {seed}: give 0 or more")
    if size < _SMALLEST:
        raise DataError(f"a phantom of {size} px would lose its nodules: give {_SMALLEST} px or more")
    places = [(finding.name, finding.side, finding.zone) for finding in findings or ()]
    if len(set(places)) < len(places):
        raise DataError(f"the phantom of seed {seed} can't have the same finding twice: give each place once")


def _first_seed(seed: int) -> int:
    return seed - (seed % _PAIR == _PAIR - 1)


def _lay_out(anatomy: Anatomy, exposure: Exposure, size: int, findings: Sequence[Finding]) -> Thorax:
    """Lay heart and lungs out; the heart hides what is behind it."""
    canvas = Canvas(size, exposure.angle, exposure.zoom, exposure.shift)
    enlarged = [HEART_RATIO[finding.size] for finding in findings if finding.name == "cardiomegaly"]
    ratio = max(enlarged, default=anatomy.heart_ratio)
    heart = canvas.fill(heart_outline(anatomy, ratio))
    hidden = np.maximum(heart, canvas.fill(knob(anatomy)))
    lungs = {side: canvas.fill(lung_outline(anatomy, side)) * (1 - hidden) for side in SIDES}
    return Thorax(canvas, anatomy, ratio, heart, lungs)


def _form(thorax: Thorax, finding: Finding, seed: int) -> Lesion:
    # neither side nor zone enters the stream: a finding that is moved keeps its form
    return draw_lesion(thorax, finding, np.random.default_rng([seed, _FORM, CLASSES.index(finding.name)]))


def _structures(thorax: Thorax) -> dict[str, Mask]:
    lungs = {f"{side} lung": lung > 0.5 for side, lung in thorax.lungs.items()}
    body = thorax.canvas.fill(body_outline(thorax.anatomy))
    return {**lungs, "heart": thorax.heart > 0.5, "body": body > 0.5}


def _box(mask: Mask) -> list[int]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return [int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1]
