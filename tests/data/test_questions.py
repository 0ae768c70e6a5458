"""Items of question answering, from small lists, phantoms and VQA-RAD."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
from question_lists import asked, write_questions

from bundle.data.answer_prior import prior_scores
from bundle.data.answer_vocabulary import AnswerVocabulary, build_vocabulary
from bundle.data.questions import question_items
from scripts.prepare import main

pytestmark = pytest.mark.filterwarnings("ignore:.*name no patient")


def test_answers_as_numbers(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    items = [
        asked("Which?", "mri", "OPEN", answers=["MRI", "magnetic resonance", "mri."], category="MODALITY"),
        asked("Is it?", "Yes.", patient="p"),
        asked("Is it not?", "perhaps"),
    ]
    path = write_questions(tmp_path, {"training": items})
    found = question_items(path, "training", AnswerVocabulary(["yes", "mri", "magnetic resonance"]))
    image = str(tmp_path / "training0.png")
    assert found[0] == {
        "image": image,
        "question": "Which?",
        "answer": 1,
        "answers": [1, 0],
        "answer_type": 1,
        "category": "MODALITY",
        "index": 0,
        "patient": image,
    }
    assert [(one["answer"], one["answers"], one["index"], one["category"]) for one in found[1:]] == [
        (2, [2], 1, ""),
        (-1, [], 2, ""),
    ]
    assert found[1]["patient"] == "p"
    assert "1 of 3 questions of training (33.3 %) have no answer in the vocabulary" in caplog.text


def test_phantoms(phantoms: Path) -> None:
    path = phantoms / "datalist.json"
    listed = json.loads(path.read_text())["test"]
    vocabulary = build_vocabulary(path)
    items = question_items(path, "test", vocabulary)
    pairs = [(item, asked) for item in listed for asked in item["questions"]]
    assert [item["index"] for item in items] == list(range(len(pairs)))
    assert [item["question"] for item in items] == [asked["question"] for _, asked in pairs]
    assert {"yes", "no", "left", "right"} <= set(vocabulary.answers)
    for item, (phantom, question) in zip(items, pairs, strict=True):
        assert item["answer"] == vocabulary.number(question["answer"])
        assert item["answer_type"] == (question["answer_type"] == "OPEN")
        assert item["image"] == str(phantoms / phantom["image"])
        assert item["patient"] == phantom["patient"]


def test_prior(tmp_path: Path) -> None:
    vocabulary = AnswerVocabulary(["left", "no", "right", "yes"])
    training = [
        *(asked("Is there air?", answer) for answer in ("no", "no", "yes")),
        *(asked("Is this normal?", answer) for answer in ("yes", "yes", "yes", "no", "yes")),
        *(asked("On which side?", answer, "OPEN") for answer in ("right", "left", "left", "right")),
    ]
    test = [
        asked("is There fluid?", "no"),  # as its kind: right
        asked("Is there a nodule?", "yes"),  # wrong
        asked("Does it show a nodule?", "yes"),  # of no kind known, so as all closed ones: yes
        asked("On which one?", "left", "OPEN"),  # left and right are as frequent: the lower number
        asked("On which one?", "right", "OPEN"),
        asked("Which zone?", "nowhere", "OPEN"),  # out of the vocabulary
    ]
    path = write_questions(tmp_path, {"training": training, "test": test})
    items = {split: question_items(path, split, vocabulary) for split in ("training", "test")}
    assert prior_scores(items["training"], items["test"]) == [1, 0, 1, 1, 0, 0]
    closed = [item for item in items["training"] if item["answer_type"] == 0]
    opened = [item for item in items["test"] if item["answer_type"] == 1]
    assert prior_scores(closed, opened) == [0, 0, 0]  # "yes", as no open question is known
    assert prior_scores([], opened) == [0, 0, 0]


def test_prior_goes_by_the_lists_categories(tmp_path: Path) -> None:
    vocabulary = AnswerVocabulary(["ct", "lung"])
    training = [
        asked("What is it?", "ct", "OPEN", category="MODALITY"),
        asked("What is it?", "lung", "OPEN", category="ORGAN"),
    ]
    test = [
        asked("Which one?", "ct", "OPEN", category="MODALITY"),
        asked("What is it?", "lung", "OPEN", category="ORGAN"),
    ]
    path = write_questions(tmp_path, {"training": training, "test": test})
    assert prior_scores(*(question_items(path, split, vocabulary) for split in ("training", "test"))) == [1, 1]


@pytest.mark.real
def test_chest_questions_of_vqa_rad(data_root: Path, tmp_path: Path) -> None:
    options = ["--root", str(data_root / "vqa_rad"), "--out", str(tmp_path), "--chest-only", "--split", "official"]
    assert main(["vqa_rad", *options]) == 0
    path = tmp_path / "datalist.json"
    vocabulary = build_vocabulary(path)
    test = question_items(path, "test", vocabulary)
    assert (len(vocabulary), len(test), sum(item["answer_type"] for item in test)) == (151, 174, 58)
    assert sum(item["answer"] < 0 for item in test) == 15
    assert len({item["patient"] for item in test}) == 73  # images
    assert sum(prior_scores(question_items(path, "training", vocabulary), test)) / len(test) == pytest.approx(
        0.391, abs=1e-3
    )
