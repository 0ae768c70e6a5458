"""What is measured of a cell: a metric of one of its steps, or by how much it exceeds that of another."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from scripts.sweeping.errors import SweepError

__all__ = ["Measure", "Place", "read_measures"]

_MINUS = " - "
_METRIC = re.compile(r"\S+")


@dataclass(frozen=True)
class Place:
    """Where a figure stands.

    Attributes:
        step: name of the step.
        metric: name of the metric in the step's `results.json`.
    """

    step: str
    metric: str


@dataclass(frozen=True)
class Measure:
    """One value of each cell.

    Attributes:
        of: where it stands.
        minus: where the figure stands that is subtracted from it; none for the figure itself.
    """

    of: Place
    minus: Place | None = None

    @property
    def places(self) -> tuple[Place, ...]:
        """All that it takes."""
        return (self.of,) if self.minus is None else (self.of, self.minus)

    def value(self, figure: Callable[[Place], float | None]) -> float | None:
        """The value; none as long as a figure is missing.

        Args:
            figure: the figure of a place, none where there is none (yet).

        Example:
            >>> gain = Measure(Place("decoder", "dice"), Place("encoder", "dice"))
            >>> gain.value(lambda place: {"decoder": 0.75, "encoder": 0.5}[place.step])
            0.25
        """
        of = figure(self.of)
        minus = 0.0 if self.minus is None else figure(self.minus)
        return None if of is None or minus is None else of - minus


def read_measures(given: Mapping[str, Any], steps: Collection[str], where: str) -> dict[str, Measure]:
    """Measures by title.

    Args:
        given: `STEP.METRIC`, or `STEP.METRIC - STEP.METRIC`, by title.
        steps: names of the steps of the file.
        where: the file, for messages.

    Raises:
        SweepError: naming the measure.

    Example:
        >>> read_measures({"gain": "decoder.dice - encoder.dice"}, ["decoder", "encoder"], "own.yaml")["gain"].minus
        Place(step='encoder', metric='dice')
    """
    measures = {}
    for title, text in given.items():
        parts = str(text).split(_MINUS)
        places = [place for part in parts if (place := _place(part, steps)) is not None]
        if len(places) < len(parts) or len(parts) > 2:
            raise SweepError(
                f"{where}: measure '{title}' is '{text}', which must be STEP.METRIC with a step of the file, or two of "
                f"them with '{_MINUS}' between"
            )
        measures[str(title)] = Measure(*places)
    return measures


def _place(text: str, steps: Collection[str]) -> Place | None:
    step, _, metric = text.partition(".")
    return Place(step, metric) if step in steps and _METRIC.fullmatch(metric) else None
