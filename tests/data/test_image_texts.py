"""Items of image-text classification."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from question_lists import write_questions

from bundle.data.errors import DataError
from bundle.data.image_texts import image_text_items, majority_label

pytestmark = pytest.mark.filterwarnings("ignore:.*name no patient")

CLASSES = ["blot", "gel"]


def write(folder: Path, items: list[dict[str, Any]], **header: Any) -> Path:
    return write_questions(
        folder, {"training": items}, **{"task": "classification", "multilabel": False, "classes": CLASSES, **header}
    )


def test_items(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    items = [
        {"label": 1, "caption": "Lanes 1\n  to 3.", "text": "not read", "patient": "p2"},
        {"label": 0},
        {"label": 0, "text": ["Two", "sentences."], "image": "shared.png"},
        {"caption": "Without a label."},
        {"label": 1, "text": "Of the same image.", "image": "shared.png"},
    ]
    path = write(tmp_path, items, split={"joined": [["p1", "p2"]], "leak_checked": True})
    shared = str(tmp_path / "shared.png")
    assert image_text_items(path, "training", CLASSES) == [
        {"image": str(tmp_path / "training0.png"), "text": "Lanes 1 to 3.", "label": 1, "index": 0, "patient": "p1"},
        {"image": shared, "text": "Two sentences.", "label": 0, "index": 1, "patient": shared},
        {"image": shared, "text": "Of the same image.", "label": 1, "index": 2, "patient": shared},
    ]
    assert "2 of 5 items of training lack a text or a label" in caplog.text
    texts = [item["text"] for item in image_text_items(path, "training", CLASSES, text_keys=["text"])]
    assert texts == ["not read", "Two sentences.", "Of the same image."]


def test_subset(tmp_path: Path) -> None:
    items = [{"label": 1, "caption": "One.", "subset": [50]}, {"label": 0, "caption": "Two."}]
    path = write(tmp_path, items, subsets={"50": {"seed": 0, "n": 1}})
    assert [item["text"] for item in image_text_items(path, "training", CLASSES, subset=50)] == ["One."]
    assert len(image_text_items(path, "training", CLASSES, subset=100)) == 2


def test_unusable_lists(tmp_path: Path) -> None:
    path = write(tmp_path, [{"label": 1, "caption": "One."}, {"label": 0, "caption": "Two."}])
    with pytest.raises(DataError, match=r"none of the 2 items of training has a 'label' and a text \('findings'\)"):
        image_text_items(path, "training", CLASSES, text_keys=["findings"])
    with pytest.raises(DataError, match=r"list.json: item training0: its label 1 is none of the 1 classes \(blot\)"):
        image_text_items(path, "training", CLASSES[:1])
    with pytest.raises(DataError, match="no split 'test'"):
        image_text_items(path, "test", CLASSES)
    (tmp_path / "training1.png").unlink()
    with pytest.raises(DataError, match=r"item training1: there is no image file .*training1.png"):
        image_text_items(path, "training", CLASSES)


def test_a_label_of_several_classes_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, [{"label": [0, 1], "caption": "One."}], multilabel=True)
    with pytest.raises(DataError, match="item training0: its label is a list"):
        image_text_items(path, "training", CLASSES)


def test_majority() -> None:
    assert majority_label([{"label": label} for label in (2, 0, 0, 2, 1)]) == 0  # as frequent, and lower
    assert majority_label([{"label": label} for label in (2, 0, 2)]) == 2
