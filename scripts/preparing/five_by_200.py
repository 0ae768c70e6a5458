"""A retrieval test of 200 images of each of five findings, made from MIMIC-CXR by the rule of CheXpert 5x200.

Reference: the rule is that of S.-C. Huang et al., "GLoRIA", ICCV 2021: images whose report has one of the five findings
and none of the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bundle.data.errors import DataError
from bundle.data.splits import in_drawn_order
from scripts.preparing.record import Record

__all__ = ["FINDINGS_5X200", "with_5x200"]

FINDINGS_5X200 = ("Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Pleural Effusion")
_EACH = 200
_FREE = "No Finding"
"""The class that the rule doesn't look at."""

Item = dict[str, Any]
Splits = dict[str, list[Item]]


def with_5x200(
    splits: Mapping[str, list[Item]],
    classes: Sequence[str],
    labels: Mapping[str, Sequence[int | None]],
    seed: int,
    record: Record,
) -> Splits:
    """Draw the test split from the training split, and leave the patients that it takes out of training.

    Of the images of a study one is taken, since they share their report. Items of the test split get the finding as
    `group`, which is what counts as relevant. The official test split is left out.

    Args:
        splits: items of the official splits, with `study` and `patient`.
        classes: names of the labels.
        labels: by study (without the "s" of the items), the labels of CheXpert; None counts as 0.
        seed: seed of the draw.
        record: counts what is left out.

    Returns:
        The splits; `validation` stays.

    Raises:
        DataError: a class is missing, or fewer than 200 studies show a finding alone.
    """
    if missing := [name for name in FINDINGS_5X200 if name not in classes]:
        raise DataError(f"the CheXpert labels have no class '{missing[0]}', only {', '.join(classes)}")
    drawn: dict[str, list[Item]] = {name: [] for name in FINDINGS_5X200}
    studies: set[str] = set()
    for item in in_drawn_order(splits["training"], seed):
        finding = _only_finding(classes, labels.get(item["study"].removeprefix("s"), ()))
        if finding and item["study"] not in studies and len(drawn[finding]) < _EACH:
            studies.add(item["study"])
            drawn[finding].append({**item, "group": finding})
    for finding, items in drawn.items():
        if len(items) < _EACH:
            raise DataError(f"5x200 needs {_EACH} training studies with {finding} alone, but there are {len(items)}")
    test = [item for items in drawn.values() for item in items]
    patients = {item["patient"] for item in test}
    training = [item for item in splits["training"] if item["patient"] not in patients]
    record.drop("training image of a patient in 5x200", len(splits["training"]) - len(test) - len(training))
    record.drop("image of the official test split, which 5x200 replaces", len(splits["test"]))
    return {"training": training, "validation": splits["validation"], "test": test}


def _only_finding(classes: Sequence[str], values: Sequence[int | None]) -> str | None:
    """The finding that is present while all other classes are 0, if it is one of the five."""
    known = {name: value for name, value in zip(classes, values, strict=False) if name != _FREE and value}
    (name, value), *others = known.items() or [("", 0)]
    return name if value == 1 and not others and name in FINDINGS_5X200 else None
