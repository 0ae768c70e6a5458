"""Labels against the classes that are to be learnt."""

from __future__ import annotations

from typing import Any

import pytest

from bundle.data.errors import DataError
from bundle.data.label_check import check_box_labels, check_labels

CLASSES = ["a", "b"]


def items(key: str, *labels: Any) -> list[dict[str, Any]]:
    return [{"image": f"{number}.png", key: label} for number, label in enumerate(labels)]


@pytest.mark.parametrize(("labels", "exclusive"), [([[0.0, 1.0]], False), ([0, 1], True), ([0, 1], None), ([], True)])
def test_labels_of_the_classes_pass(labels: list[Any], exclusive: bool | None) -> None:
    check_labels(items("label", *labels), CLASSES, exclusive, "l.json")


@pytest.mark.parametrize(
    ("labels", "exclusive", "said"),
    [
        ([[0.0, 1.0], [0.0]], False, "1.png is a list of 1 values: classes must be those of the list"),
        ([[0.0, 1.0, 0.0]], None, "0.png is a list of 3 values: .* here they are 2 \\(a, b\\)"),
        ([1, 2], True, "1.png is the class number 2: "),
        ([[0.0, 1.0]], True, "0.png is a list of one value a class: run it without multiclass.yaml"),
        ([0], False, "0.png is the number of a class: add multiclass.yaml"),
    ],
)
def test_other_labels_are_refused(labels: list[Any], exclusive: bool | None, said: str) -> None:
    with pytest.raises(DataError, match=f"^l.json: the label of {said}"):
        check_labels(items("label", *labels), CLASSES, exclusive, "l.json")


def test_labels_of_boxes() -> None:
    check_box_labels(items("box_label", [], [0, 1]), CLASSES, "l.json")
    with pytest.raises(DataError, match=r"^l.json: the label of 1.png is the class number 2 for a box: .* \(a, b\)"):
        check_box_labels(items("box_label", [], [0, 2]), CLASSES, "l.json")
