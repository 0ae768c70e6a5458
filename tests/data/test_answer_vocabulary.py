"""The answers that a network chooses among."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from question_lists import asked, write_questions

from bundle.data.answer_vocabulary import AnswerVocabulary, build_vocabulary
from bundle.data.errors import DataError

pytestmark = pytest.mark.filterwarnings("ignore:.*name no patient")

SPLITS = {
    "training": [asked("Is it?", "Yes"), asked("Which?", "The left lung.", "OPEN", answers=["The left lung.", "left"])],
    "validation": [asked("Is it?", "no"), {"questions": [asked("How many?", "two", "OPEN")]}],
    "test": [asked("What?", "a mass", "OPEN")],
}


def test_numbers() -> None:
    vocabulary = AnswerVocabulary(["yes", "YES.", "The left lung", "no"])
    assert vocabulary.answers == ("left lung", "no", "yes")
    assert len(vocabulary) == 3
    assert [vocabulary.number(text) for text in ("Left-lung", "no?", "Yes", "maybe")] == [0, 1, 2, -1]
    sha256 = hashlib.sha256(b'["left lung", "no", "yes"]').hexdigest()
    assert vocabulary.identity == {"mode": "training", "count": 3, "sha256": sha256}


def test_order_of_answers_is_of_no_account() -> None:
    assert AnswerVocabulary(["b", "c"]).identity == AnswerVocabulary(["C", "b", "b."]).identity
    assert AnswerVocabulary(["b", "c"]).identity != AnswerVocabulary(["b", "d"]).identity


@pytest.mark.parametrize(
    ("mode", "answers"),
    [
        ("training", ("left", "left lung", "yes")),
        ("training_validation", ("2", "left", "left lung", "no", "yes")),
        ("m3ae", ("2", "left", "left lung", "mass", "no", "yes")),
    ],
)
def test_modes(tmp_path: Path, mode: Any, answers: tuple[str, ...]) -> None:
    vocabulary = build_vocabulary(write_questions(tmp_path, SPLITS), mode)
    assert vocabulary.answers == answers
    assert vocabulary.identity["mode"] == mode


def test_lists_without_validation(tmp_path: Path) -> None:
    path = write_questions(tmp_path, {name: SPLITS[name] for name in ("training", "test")})
    assert len(build_vocabulary(path)) == 3
    assert len(build_vocabulary(path, "m3ae")) == 4
    with pytest.raises(DataError, match="'training_validation' reads the split 'validation', which the list lacks"):
        build_vocabulary(path, "training_validation")


def test_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="one answer or more"):
        AnswerVocabulary([])
    mode: Any = "everything"
    with pytest.raises(DataError, match="one of training, training_validation, m3ae, not 'everything'"):
        build_vocabulary(tmp_path / "absent.json", mode)


def test_saved_and_loaded(tmp_path: Path) -> None:
    vocabulary = AnswerVocabulary(["yes", "A", "3.4 cm", "œdème", "?"], "m3ae")
    path = tmp_path / "run" / "answers.json"
    vocabulary.save(path)
    assert [file.name for file in path.parent.iterdir()] == ["answers.json"]
    loaded = AnswerVocabulary.load(path)
    assert loaded.answers == vocabulary.answers
    assert loaded.identity == vocabulary.identity


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"answers": 3, "mode": "training"}', '{"answers": [1], "mode": ""}']
)
def test_what_is_no_vocabulary(tmp_path: Path, content: str) -> None:
    path = tmp_path / "answers.json"
    path.write_text(content)
    with pytest.raises(DataError, match=r"answers.json: this is no vocabulary of answers"):
        AnswerVocabulary.load(path)


def test_changed_and_absent_files(tmp_path: Path) -> None:
    path = tmp_path / "answers.json"
    with pytest.raises(DataError, match=r"answers.json: the vocabulary can't be read \(No such file"):
        AnswerVocabulary.load(path)
    AnswerVocabulary(["yes", "no"]).save(path)
    content = json.loads(path.read_text())
    for change in ({"answers": ["no", "perhaps"]}, {"answers": ["yes", "no"]}, {"count": 3}):
        path.write_text(json.dumps(content | change))
        with pytest.raises(DataError, match="was changed since it was written"):
            AnswerVocabulary.load(path)


def test_weights_of_another_vocabulary_are_refused() -> None:
    vocabulary = AnswerVocabulary(["yes", "no"])
    vocabulary.check_card({"answers": vocabulary.identity}, "best.safetensors")
    with pytest.raises(DataError, match=r"best.safetensors: the weights choose among 3 answers, this vocabulary has 2"):
        vocabulary.check_card({"answers": AnswerVocabulary(["a", "b", "c"]).identity}, "best.safetensors")
    with pytest.raises(DataError, match="choose among 2 other answers"):
        vocabulary.check_card({"answers": AnswerVocabulary(["yes", "never"]).identity}, "best.safetensors")
    for card in ({}, {"answers": None}, {"answers": {"count": 2}}):
        with pytest.raises(DataError, match="its card names no vocabulary"):
            vocabulary.check_card(card, "best.safetensors")


@pytest.mark.real
def test_vqa_rad_has_the_published_number_of_answers(data_root: Path) -> None:
    files = [data_root / "vqa_rad" / name for name in ("trainset.json", "testset.json")]
    training, test = ([str(one["answer"]) for one in json.loads(file.read_text())] for file in files)
    assert len(AnswerVocabulary([*training, *test])) == 498  # M3AE's configuration
    vocabulary = AnswerVocabulary(training)
    unknown = [answer for answer in test if vocabulary.number(answer) < 0]
    assert (len(vocabulary), len(unknown)) == (461, 44)
