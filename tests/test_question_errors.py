"""What a person sees when questions or texts cannot be learnt or tested: one sentence, and no network left."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from monai.bundle import ConfigWorkflow
from question_runs import VQA, lists_of, sided, stages
from supervised_runs import SMALL, UNDRAWN, edited_list, evaluated, items_of, supervised
from workflows import started

from bundle.data.answer_vocabulary import AnswerVocabulary
from bundle.handlers.plain_errors import plain_cause
from bundle.networks.weights.checkpoint import CARD_FIELDS, save_weights
from bundle.transforms.tokenizer_training import train_tokenizer

Edit = Callable[[dict[str, Any]], object]


def sentence_of(run: AbstractContextManager[ConfigWorkflow]) -> str:
    """What a run ends with."""
    with pytest.raises(Exception) as raised, run as made:  # noqa: PT011, MONAI wraps what its components raise
        made.run()
    cause = plain_cause(raised.value)
    assert cause is not None, raised.value
    assert len(str(cause).splitlines()) == 1
    return str(cause)


def first_question(datalist: dict[str, Any], **values: Any) -> None:
    asked = datalist["training"][0]["questions"][0]
    for key, value in values.items():
        if value is None:
            del asked[key]
        else:
            asked[key] = value


def without_image(datalist: dict[str, Any]) -> None:
    del datalist["training"][3]["image"]


def lost_image(datalist: dict[str, Any]) -> None:
    datalist["test"][2]["image"] = "images/lost.png"


def unlabelled(datalist: dict[str, Any]) -> None:
    sided(datalist)
    for item in items_of(datalist):
        del item["impression"]


LISTS: dict[str, tuple[str, Edit, tuple[str, ...]]] = {
    "unknown answer type": (
        "vqa",
        lambda d: first_question(d, answer_type="MAYBE"),
        ("datalist.json: item phantom-0: question phantom-0-0 has the answer_type 'MAYBE'", "CLOSED or OPEN"),
    ),
    "no answer": ("vqa", lambda d: first_question(d, answer=None), ("item phantom-0", "has no 'answer'")),
    "question without an image": ("vqa", without_image, ("entry 3 of 'training' has no 'image'",)),
    "image that is not there": ("vqa", lost_image, ("there is no image file", "images/lost.png")),
    "labels that are lists": ("image_text", lambda d: None, ("item phantom-0: its label is a list",)),
    "no texts": ("image_text", unlabelled, ("none of the 60 items of training has a 'label' and a text",)),
}


@pytest.mark.parametrize(("name", "edit", "parts"), LISTS.values(), ids=LISTS.keys())
def test_unfit_list(
    phantoms: Path, phantom_store: Path, tmp_path: Path, name: str, edit: Edit, parts: tuple[str, ...]
) -> None:
    lists = edited_list(phantoms, tmp_path / "list", edit)
    sentence = sentence_of(supervised(stages(phantom_store)[name], lists, tmp_path / "runs", UNDRAWN))
    assert [part for part in parts if part not in sentence] == [], sentence
    assert list((tmp_path / "runs").rglob("*.safetensors")) == []


def test_no_tokenizer(phantoms: Path, phantom_store: Path, tmp_path: Path) -> None:
    stage = stages(phantom_store)["vqa"]
    sentence = sentence_of(supervised(stage, phantoms, tmp_path, {"tokenizer": None, **UNDRAWN}))
    assert sentence == "no tokenizer: there are no weights to start from; give --tokenizer, a folder or a hub name"


def test_tokenizer_with_words_that_the_start_does_not_know(phantoms: Path, phantom_store: Path, tmp_path: Path) -> None:
    stage = stages(phantom_store)["vqa"]
    train_tokenizer(["Other words than those of reports."] * 3, tmp_path / "models" / "tokenizer", 100)
    with supervised(stage, phantoms, tmp_path / "made", UNDRAWN) as made:
        network = made.parser.get_parsed_content("network_def")
        card = dict.fromkeys(CARD_FIELDS) | {"tokenizer": made.parser.get_parsed_content("card::tokenizer")}
    card |= {"image_mean": 0.4, "image_std": 0.2}
    start = str(save_weights(network, tmp_path / "models" / "model.safetensors", card))
    values = {"start": start, "tokenizer": None, **UNDRAWN}
    sentence = sentence_of(supervised(stage, phantoms, tmp_path / "runs", values))
    assert sentence.startswith(f"tokenizer {tmp_path / 'models' / 'tokenizer'}: its words are not those")
    assert start in sentence
    assert "leave text_encoder out of start_parts" in sentence


@pytest.fixture(scope="module")
def trained(phantoms: Path, phantom_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a run of a few steps."""
    output = tmp_path_factory.mktemp("trained")
    stage = stages(phantom_store)["vqa"]
    with supervised(stage, phantoms, output, {"fraction": 10, **UNDRAWN}) as made:
        made.run()
    return output / stage.folder


@pytest.mark.parametrize(
    ("answers", "parts"),
    [
        (["yes", "no"], ("the weights choose among ", " answers, this vocabulary has 2; take the vocabulary file")),
        (None, ("other answers than those of this vocabulary; take the vocabulary file",)),
    ],
)
def test_vocabulary_that_does_not_fit_the_weights(
    trained: Path, tmp_path: Path, answers: list[str] | None, parts: tuple[str, ...]
) -> None:
    own = AnswerVocabulary.load(trained / "models" / "answers.json")
    AnswerVocabulary(answers or ["zebra", *own.answers[:-1]]).save(tmp_path / "answers.json")
    values = {"vocabulary_file": str(tmp_path / "answers.json"), **UNDRAWN}
    sentence = sentence_of(evaluated(trained, tmp_path / "evaluation", values))
    assert str(trained / "models" / "best.safetensors") in sentence
    assert [part for part in parts if part not in sentence] == [], sentence


def test_weights_of_another_stage(trained: Path, phantoms: Path, tmp_path: Path) -> None:
    """A card without answers is of no run on questions."""
    card = json.loads((trained / "models" / "best.json").read_text(encoding="utf-8")) | {"answers": None}
    (tmp_path / "best.json").write_text(json.dumps(card), encoding="utf-8")
    (tmp_path / "best.safetensors").write_bytes((trained / "models" / "best.safetensors").read_bytes())
    (tmp_path / "answers.json").write_bytes((trained / "models" / "answers.json").read_bytes())
    values = {"trained": str(tmp_path / "best.safetensors"), "dataset_dir": str(phantoms), **SMALL}
    values |= {"output_root": str(tmp_path / "runs"), "tokenizer": str(trained / "models" / "tokenizer")}
    sentence = sentence_of(started((*VQA, "evaluate"), values, run_id="evaluating"))
    assert "its card names no vocabulary of answers; give weights of a run on questions" in sentence


@pytest.mark.parametrize(("name", "limit"), [("vqa", 6), ("image_text", 5)])
def test_longer_texts_are_cut_and_counted_once_a_split(
    phantoms: Path, phantom_store: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, limit: int
) -> None:
    stage, lists = stages(phantom_store)[name], lists_of(name, phantoms, tmp_path / "list")
    caplog.set_level(logging.WARNING)
    with supervised(stage, lists, tmp_path, {"max_length": limit, "fraction": 10, **UNDRAWN}) as made:
        made.run()
    said = [record.getMessage() for record in caplog.records if "are cut" in record.getMessage()]
    splits = ("training", "validation", "test")
    assert sorted(line.split(" texts of ")[1].split()[0] for line in said) == sorted(splits)
    assert all(f"have more than {limit} tokens and are cut" in line for line in said)
