"""Questions as data lists have them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from question_lists import asked, write_questions

from bundle.data.datalist import read_datalist
from bundle.data.errors import DataError
from bundle.data.listed_questions import ListedQuestion, listed_questions

pytestmark = pytest.mark.filterwarnings("ignore:.*name no patient")


def test_one_question_an_item_and_several(tmp_path: Path) -> None:
    split = {"joined": [["p1", "p2"]], "leak_checked": True}
    several = [asked("Which side?", "left", "OPEN"), asked("Is it normal?", "no")]
    path = write_questions(
        tmp_path,
        {
            "training": [
                asked("Is there fluid?", "yes", category="PRES"),
                {"questions": several, "patient": "p2"},
                {"label": [], "patient": "p3"},  # an item without question
            ],
            "test": [asked("Which modality?", "ct", "OPEN", answers=["ct", "computed tomography"])],
        },
        split=split,
    )
    found = listed_questions(path)
    own, pair = str(tmp_path / "training0.png"), str(tmp_path / "training1.png")
    assert found["training"] == [
        ListedQuestion("training0", own, own, "Is there fluid?", ("yes",), "CLOSED", "PRES"),
        ListedQuestion("training1-0", pair, "p1", "Which side?", ("left",), "OPEN", None),
        ListedQuestion("training1-1", pair, "p1", "Is it normal?", ("no",), "CLOSED", None),
    ]
    assert [question.answers for question in found["test"]] == [("ct", "computed tomography")]
    assert list(listed_questions(path, "test")) == ["test"]


def test_questions_about_one_image_are_of_one_patient(tmp_path: Path) -> None:
    one = asked("Is it?", "no", image="same.png")
    questions = listed_questions(write_questions(tmp_path, {"training": [one, dict(one), asked("Was it?", "no")]}))
    first, second, third = (question.patient for question in questions["training"])
    assert first == second != third


def test_subset(tmp_path: Path) -> None:
    items = [asked("Is it?", "no", subset=[50]), asked("Was it?", "no")]
    path = write_questions(tmp_path, {"training": items}, subsets={"50": {"seed": 0, "n": 1}})
    assert [one.question for one in listed_questions(path, "training", subset=50)["training"]] == ["Is it?"]


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        ({"questions": [asked("Is it?", "no", "MAYBE")]}, "training0-0 has the answer_type 'MAYBE', which must be"),
        ({"questions": [{"question": "Is it?", "answer": "no"}]}, "has the answer_type None"),
        ({"questions": [{"answer": "no", "answer_type": "OPEN"}]}, "question training0-0 has no text"),
        ({"questions": [asked("Is it?", None)]}, "training0-0 has no 'answer'"),
        ({"questions": [asked("Is it?", "no", answers=[])]}, "has no 'answer'"),
        ({"questions": [asked("Is it?", "no", answers="no")]}, "has no 'answer'"),
        ({"questions": [asked("Is it?", "no", answers=["no", 3])]}, "has no 'answer'"),
        ({"questions": "Is it?"}, "'questions' must be a list of objects"),
        ({"questions": ["Is it?"]}, "'questions' must be a list of objects"),
        ({"question": "Is it?", "answer_type": "OPEN"}, "question training0 has no 'answer'"),
        ({"question": "Is it?", "answer": "no"}, "question training0 has the answer_type None"),
    ],
)
def test_refused_questions(tmp_path: Path, item: dict[str, Any], reason: str) -> None:
    path = write_questions(tmp_path, {"training": [item]})
    with pytest.raises(DataError, match=f"list.json: item training0: .*{reason}"):
        listed_questions(path)


def test_refused_lists(tmp_path: Path) -> None:
    path = write_questions(tmp_path, {"training": [asked("Is it?", "no"), asked("Was it?", "no")], "test": [{}]})
    with pytest.raises(DataError, match="none of the 1 items of test has a 'question'"):
        listed_questions(path)
    with pytest.raises(DataError, match="no split 'validation'"):
        listed_questions(path, "validation")
    (tmp_path / "training1.png").unlink()
    with pytest.raises(DataError, match=r"item training1: there is no image file .*training1.png"):
        listed_questions(path, "training")


@pytest.mark.parametrize(
    ("change", "reason"),
    [({"answer_type": "SOME"}, "item training0: answer_type 'SOME'"), ({"image": None}, "entry 0 .* no 'image'")],
)
def test_refused_items(tmp_path: Path, change: dict[str, Any], reason: str) -> None:
    path = write_questions(tmp_path, {"training": [asked("Is it?", "no")]})
    datalist = read_datalist(path)
    datalist["training"][0] |= change
    path.write_text(json.dumps(datalist))
    with pytest.raises(DataError, match=reason):
        listed_questions(path)
