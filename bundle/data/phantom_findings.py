"""What may be found on a phantom radiograph, and which combinations are drawn."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from bundle.data.errors import DataError

__all__ = ["CLASSES", "SIDES", "SIZES", "ZONES", "Finding", "all_findings", "ordered", "sample_findings"]

CLASSES = ("consolidation", "pleural effusion", "pneumothorax", "nodule", "cardiomegaly")
"""Names of the findings, in the order of every multi-hot label."""

SIDES = ("left", "right")
"""Sides of the PATIENT; the patient's left is on the image's right."""

ZONES = ("upper", "middle", "lower")
SIZES = ("small", "moderate", "large")

_ZONED = ("consolidation", "nodule")
_NORMAL_SHARE = 0.35
_NUMBER = (1, 2, 3)
_NUMBER_SHARES = (0.58, 0.34, 0.08)
_PLEURAL_ZONES = {
    ("pleural effusion", "small"): {"lower"},
    ("pleural effusion", "moderate"): {"lower"},
    ("pleural effusion", "large"): {"lower", "middle"},
    ("pneumothorax", "small"): {"upper"},
    ("pneumothorax", "moderate"): {"upper", "middle"},
    ("pneumothorax", "large"): {"upper", "middle"},
}


@dataclass(frozen=True)
class Finding:
    """One finding and its place.

    Args:
        name: one of `CLASSES`.
        side: the patient's side, "left" or "right"; None for cardiomegaly.
        zone: "upper", "middle" or "lower" third of the lung for consolidation and nodule, else None.
        size: "small", "moderate" or "large".

    Raises:
        DataError: a value is unknown, or a side or zone is missing or given where the finding has none.

    Example:
        >>> Finding("nodule", "left", "upper").mirrored()
        Finding(name='nodule', side='right', zone='upper', size='moderate')
    """

    name: str
    side: str | None = None
    zone: str | None = None
    size: str = "moderate"

    def __post_init__(self) -> None:
        """Refuse places that the finding can't have."""
        if self.name not in CLASSES:
            raise DataError(f"finding {self.name!r} can't be drawn: choose one of {', '.join(CLASSES)}")
        sides: tuple[str | None, ...] = (None,) if self.name == "cardiomegaly" else SIDES
        zones: tuple[str | None, ...] = ZONES if self.name in _ZONED else (None,)
        for key, value, allowed in (("side", self.side, sides), ("zone", self.zone, zones), ("size", self.size, SIZES)):
            if value not in allowed:
                raise DataError(f"{self.name} can't have {key} {value!r}: choose {' or '.join(map(repr, allowed))}")

    def mirrored(self) -> Finding:
        """The same finding on the other side; cardiomegaly has no side and stays as it is."""
        return self if self.side is None else replace(self, side="right" if self.side == "left" else "left")

    def hides(self, other: Finding) -> bool:
        """Whether the two would overlap, so that one of them couldn't be seen."""
        names = {self.name, other.name}
        if "cardiomegaly" in names:
            return names == {"cardiomegaly"} or ("left", "lower") in ((self.side, self.zone), (other.side, other.zone))
        return self.side == other.side and bool(_room(self) & _room(other))


def all_findings() -> tuple[Finding, ...]:
    """Every finding at every place, each of moderate size."""
    return (
        *(Finding(name, side, zone) for name in _ZONED for side in SIDES for zone in ZONES),
        *(Finding(name, side) for name in ("pleural effusion", "pneumothorax") for side in SIDES),
        Finding("cardiomegaly"),
    )


def sample_findings(rng: np.random.Generator) -> tuple[Finding, ...]:
    """Draw none (35 %), one, two or three findings that don't hide each other.

    Args:
        rng: the findings' own random stream.

    Returns:
        Findings sorted by name and place.
    """
    if rng.random() < _NORMAL_SHARE:
        return ()
    number = int(rng.choice(_NUMBER, p=_NUMBER_SHARES))
    chosen: list[Finding] = []
    while len(chosen) < number:
        finding = _sample_finding(rng)
        if not any(finding.hides(other) for other in chosen):
            chosen.append(finding)
    return ordered(chosen)


def ordered(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Sort by name and place."""
    return tuple(sorted(findings, key=lambda finding: (finding.name, finding.side or "", finding.zone or "")))


def _sample_finding(rng: np.random.Generator) -> Finding:
    name = CLASSES[rng.integers(len(CLASSES))]
    side, zone, size = (str(rng.choice(values)) for values in (SIDES, ZONES, SIZES))
    if name == "cardiomegaly":
        return Finding(name, size=size)
    return Finding(name, side, zone if name in _ZONED else None, size)


def _room(finding: Finding) -> set[str]:
    """The parts of its side that a finding fills: zones, and the pleural space."""
    if finding.name in _ZONED:
        return {str(finding.zone)}
    return _PLEURAL_ZONES[finding.name, finding.size] | {"pleura"}
