"""From a file that somebody dropped to what the page shows: pictures and tables, or one sentence why not."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from bundle.data.radiograph_reader import read_radiograph
from bundle.handlers.plain_errors import plain_cause
from scripts.showing.pictures import shown, with_classes, with_heat
from scripts.showing.segmentation import Segmentation, area_shares
from scripts.showing.tables import answer_table, caption, finding_bars, problem, share_table
from scripts.showing.words import Words

__all__ = ["Answers", "Heat", "Reading"]

logger = logging.getLogger(__name__)

T = TypeVar("T")

_NO_FILE = "Drop a radiograph first."
_NO_PHRASE = "Type what to look for, such as “There is a left pleural effusion.”"


@dataclass(frozen=True)
class Reading:
    """What the page shows of a radiograph; where it can't be used, `problem` alone.

    Attributes:
        caption: HTML, name and size.
        radiograph: uint8 `[h, w, 3]`, plain.
        segmented: uint8 `[h, w, 3]`, with the classes.
        shares: HTML, the part of the image that each class covers.
        findings: HTML, the bars; empty without a pre-trained run.
        problem: HTML, one sentence; empty where all is well.
    """

    caption: str = ""
    radiograph: np.ndarray | None = None
    segmented: np.ndarray | None = None
    shares: str = ""
    findings: str = ""
    problem: str = ""


@dataclass(frozen=True)
class Heat:
    """What the page shows of a phrase; where there is no answer, `problem` alone.

    Attributes:
        picture: uint8 `[h, w, 3]`, the radiograph with the heat map.
        answer: HTML, the figures.
        problem: HTML, one sentence; empty where all is well.
    """

    picture: np.ndarray | None = None
    answer: str = ""
    problem: str = ""


class Answers:
    """Answers the page's questions, whatever is dropped on it.

    Args:
        segmentation: marks the classes.
        words: scores findings and shows phrases; none where there is no pre-trained run.
    """

    def __init__(self, segmentation: Segmentation, words: Words | None = None) -> None:
        self._segmentation = segmentation
        self.words = words

    def read(self, path: str | None) -> Reading:
        """Everything about a radiograph that needs no phrase; nothing where there is no file."""
        if path is None:
            return Reading()
        return _or_problem(lambda: self._read(path), path, lambda sentence: Reading(problem=sentence))

    def show(self, path: str | None, phrase: str | None) -> Heat:
        """Where a phrase is seen on a radiograph."""
        if path is None or phrase is None or not phrase.strip():
            return Heat(problem=problem(_NO_FILE if path is None else _NO_PHRASE))
        return _or_problem(lambda: self._show(path, phrase), path, lambda sentence: Heat(problem=sentence))

    def _read(self, path: str) -> Reading:
        radiograph = read_radiograph(path)
        label_map = self._segmentation.label_map(path)
        picture = shown(radiograph.pixels)
        return Reading(
            caption=caption(Path(path).name, radiograph.size, radiograph.spacing),
            radiograph=picture,
            segmented=with_classes(picture, label_map),
            shares=share_table(area_shares(label_map, self._segmentation.classes)),
            findings=finding_bars(self.words.findings(path), self.words.prompts) if self.words else "",
        )

    def _show(self, path: str, phrase: str) -> Heat:
        assert self.words is not None, "the page has no field for phrases without a pre-trained run"
        answer = self.words.ask(path, phrase)
        picture = shown(read_radiograph(path).pixels)
        return Heat(with_heat(picture, answer.heat), answer_table(phrase, answer))


def _or_problem(work: Callable[[], T], path: str, failed: Callable[[str], T]) -> T:
    """What `work` returns, or what `failed` makes of the sentence that says why it can't be done."""
    try:
        return work()
    except Exception as error:  # whatever a decoder makes of a damaged file, the page stays up and says so
        cause = plain_cause(error)
        if cause is None:
            logger.exception("a fault of the program")
            return failed(problem(f"A fault of the program, not of the file: {type(error).__name__}, see its log."))
        # The person at the browser knows the file by its name; where it lies meanwhile is of no use to anyone.
        return failed(problem(str(cause).replace(os.fspath(path), Path(path).name)))
