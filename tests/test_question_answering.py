"""Question answering and image-text classification as a user runs them: trained, tested, evaluated, started again."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from ignite.engine import Engine, Events
from monai.bundle import ConfigWorkflow
from question_runs import SIDES, lists_of, questions_of, read_list, sided, stages
from safetensors.torch import load_file
from supervised_runs import UNDRAWN, Stage, edited_list, evaluated, lines_of, results_of, supervised
from workflows import started

from bundle.data.answer_vocabulary import AnswerVocabulary
from bundle.data.tokenizer_files import load_tokenizer, tokenizer_sha256

CONTROLS = {"vqa": ("question_only", "blank_image", "prior"), "image_text": ("text_only", "blank_image", "prior")}


@dataclass(frozen=True)
class Trained:
    """A run of two epochs.

    Attributes:
        name: of the stage.
        stage: what was run.
        lists: folder of its data list.
        folder: what it left.
        wrong: what MONAI's check of properties found.
        weights: of its network after the run.
        read: files that were decoded, each time once in the list.
    """

    name: str
    stage: Stage
    lists: Path
    folder: Path
    wrong: list[str] | None
    weights: dict[str, torch.Tensor]
    read: list[str]


@pytest.fixture(scope="module", params=["vqa", "image_text"])
def trained(
    request: pytest.FixtureRequest, phantoms: Path, phantom_store: Path, tmp_path_factory: pytest.TempPathFactory
) -> Trained:
    name, output = request.param, tmp_path_factory.mktemp(request.param)
    stage, lists = stages(phantom_store)[name], lists_of(name, phantoms, output / "list")
    read: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch_reader(patch, read)
        with supervised(stage, lists, output, {"max_epochs": 2, **UNDRAWN}) as made:
            wrong = made.check_properties()
            made.run()
            weights = made.parser.get_parsed_content("saved_network").state_dict()
    return Trained(name, stage, lists, output / stage.folder, wrong, weights, read)


def patch_reader(patch: pytest.MonkeyPatch, read: list[str]) -> None:
    """Note every radiograph that is decoded."""
    from bundle.transforms import radiograph

    decode = radiograph.read_radiograph

    def noted(path: Any, *arguments: Any, **options: Any) -> Any:
        read.append(Path(path).name)
        return decode(path, *arguments, **options)

    patch.setattr(radiograph, "read_radiograph", noted)


# ---------------------------------------------------------------------------------------------------------------------
# What a run leaves
# ---------------------------------------------------------------------------------------------------------------------
def test_property_check_finds_all(trained: Trained) -> None:
    assert trained.wrong == []


def test_every_baseline_stands_beside_with_its_interval(trained: Trained) -> None:
    metrics = results_of(trained.folder)["metrics"]
    datalist = read_list(trained.lists)
    count = len(questions_of(datalist, "test") if trained.name == "vqa" else datalist["test"])
    for suffix in ("", *(f"_{name}" for name in CONTROLS[trained.name])):
        entry = metrics[f"{trained.stage.key}{suffix}"]
        assert entry["n"] == count, suffix
        assert 0 <= entry["low"] <= entry["value"] <= entry["high"] <= 1, suffix


def test_prior_is_that_of_the_training_list(trained: Trained) -> None:
    metrics, datalist = results_of(trained.folder)["metrics"], read_list(trained.lists)
    if trained.name == "image_text":
        labels = {split: [item["label"] for item in datalist[split]] for split in ("training", "test")}
        majority = Counter(labels["training"]).most_common(1)[0][0]
        assert metrics["accuracy_prior"]["value"] == pytest.approx(labels["test"].count(majority) / 7)
    else:
        closed = [asked["answer"] for asked in questions_of(datalist, "test") if asked["answer_type"] == "CLOSED"]
        assert metrics["vqa_accuracy_closed_prior"]["n"] == len(closed) == metrics["vqa_questions_closed"]["value"]


def test_each_image_is_decoded_once(trained: Trained) -> None:
    times = Counter(trained.read)
    assert len(times) == 75
    assert set(times.values()) == {1}


def test_both_networks_are_trained_and_validated(trained: Trained) -> None:
    losses = lines_of(trained.folder / "losses.jsonl")
    for line in losses:
        assert line["loss"] == pytest.approx(line["answers"] + line["question_only"], rel=1e-6)
    first, *_, last = losses
    assert last["answers"] < first["answers"]
    assert last["question_only"] < first["question_only"]
    validation = lines_of(trained.folder / "metrics.jsonl")[-1]
    control = CONTROLS[trained.name][0]
    assert {trained.stage.key, f"{trained.stage.key}_{control}", "validation_loss"} <= set(validation)
    assert not any(name.endswith("_blank_image") for name in validation)  # at the test alone


def test_weights_come_with_answers_and_words(trained: Trained, phantom_store: Path) -> None:
    models = trained.folder / "models"
    card = json.loads((models / "best.json").read_text(encoding="utf-8"))
    words = {"sha256": tokenizer_sha256(load_tokenizer(phantom_store / "tokenizer")), "vocab_size": 300}
    assert card["tokenizer"] == words
    assert tokenizer_sha256(load_tokenizer(models / "tokenizer")) == words["sha256"]
    assert card["text_encoder"]["hidden_size"] == 32
    assert card["best"]["metric"] == trained.stage.key
    if trained.name == "vqa":
        vocabulary = AnswerVocabulary.load(models / "answers.json")
        assert card["answers"] == vocabulary.identity
        assert vocabulary.mode == "training"
        assert {"yes", "no", "left", "right"} <= set(vocabulary.answers)
        assert len(vocabulary) == trained.weights["head.3.weight"].shape[0]
    else:
        assert card["classes"] == SIDES
    saved = load_file(models / "best.safetensors")
    assert saved.keys() == trained.weights.keys()
    assert [name for name in saved if not torch.equal(saved[name], trained.weights[name])] == []


def test_neither_texts_nor_patients_are_left(trained: Trained) -> None:
    datalist = read_list(trained.lists)
    private = [item["patient"] for item in datalist["training"][:5]]
    private += [item["impression"].split(".")[0] for item in datalist["training"] if len(item["impression"]) > 30][:5]
    private += [asked["question"] for asked in questions_of(datalist, "test")[:5]]
    for path in trained.folder.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert [text for text in private if text.encode() in content] == [], path


def test_evaluation_gives_the_figures_of_the_run(trained: Trained, tmp_path: Path) -> None:
    with evaluated(trained.folder, tmp_path / "evaluation", {"batch_size": 5, **UNDRAWN}) as made:
        made.run()
    found, expected = results_of(tmp_path / "evaluation"), results_of(trained.folder)
    assert found["metrics"].keys() == expected["metrics"].keys()
    for name, entry in expected["metrics"].items():
        assert found["metrics"][name] == pytest.approx(entry, abs=1e-5), name


def test_weights_alone_are_enough_for_an_evaluation(trained: Trained, phantoms: Path, tmp_path: Path) -> None:
    """Over the configs of the stage, on a list whose training answers are others: answers lie beside the weights."""
    edits = {"vqa": few_training, "image_text": lambda datalist: few_training(datalist, sided)}
    texts = {"text_keys": ["impression"]} if trained.name == "image_text" else {}
    small = {key: value for key, value in trained.stage.values.items() if key not in ("tokenizer", "text_source")}
    values = {
        "trained": str(trained.folder / "models" / "best.safetensors"),
        "dataset_dir": str(edited_list(phantoms, tmp_path / "list", edits[trained.name])),
        "output_root": str(tmp_path),
        "image_encoder": image_encoder_of(trained.folder),
        "precision": "fp32",
        "device": "$torch.device('cpu')",
        "test::results::resamples": 50,
        **small,
        **texts,
    }
    with started((*trained.stage.configs, "evaluate"), values, run_id="evaluating") as made:
        made.run()
        folder = Path(made.parser.get_parsed_content("output_dir"))
    key = trained.stage.key
    assert results_of(folder)["metrics"][key] == results_of(trained.folder)["metrics"][key]


def few_training(datalist: dict[str, Any], before: Callable[[dict[str, Any]], None] | None = None) -> None:
    """Keep ten items of training, whose answers would make a smaller vocabulary."""
    if before is not None:
        before(datalist)
    datalist["training"] = datalist["training"][:10]
    del datalist["subsets"]
    for item in datalist["training"]:
        item.pop("subset", None)


def image_encoder_of(run: Path) -> dict[str, Any]:
    import yaml

    return yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))["image_encoder"]


# ---------------------------------------------------------------------------------------------------------------------
# Without control, and stopped
# ---------------------------------------------------------------------------------------------------------------------
def test_control_may_be_left_out(phantoms: Path, phantom_store: Path, tmp_path: Path) -> None:
    stage = stages(phantom_store)["vqa"]
    with supervised(stage, phantoms, tmp_path, {"question_only": None, "fraction": 10, **UNDRAWN}) as made:
        made.run()
        assert made.parser.get_parsed_content("network_def").question_only is None
    metrics = results_of(tmp_path / stage.folder)["metrics"]
    assert {"vqa_accuracy_overall_prior", "vqa_accuracy_overall_blank_image"} < set(metrics)
    assert not any(name.endswith("_question_only") for name in metrics)
    assert set(lines_of(tmp_path / stage.folder / "losses.jsonl")[0]) == {
        *("iteration", "loss", "answers", "gradient_norm")
    }


class Killed(Exception):
    """Stands for the end of a process."""


def run_until(made: ConfigWorkflow, iteration: int) -> None:
    """Train, and end with an exception right after a step."""

    def kill(engine: Engine) -> None:
        if engine.state.iteration == iteration:
            raise Killed

    made.parser.get_parsed_content("train::trainer").add_event_handler(Events.ITERATION_COMPLETED, kill)
    with pytest.raises(RuntimeError) as raised:  # MONAI wraps what its components raise
        made.run()
    assert Killed in causes(raised.value)


def causes(error: BaseException | None) -> Iterator[type[BaseException]]:
    while error is not None:
        yield type(error)
        error = error.__cause__ or error.__context__


def test_killed_run_continues_bit_for_bit(phantoms: Path, phantom_store: Path, tmp_path: Path) -> None:
    stage = stages(phantom_store)["vqa"]
    values = {"max_epochs": 2, "checkpoint_every": 2, "batch_size": 16, "fraction": 10, **UNDRAWN}
    with supervised(stage, phantoms, tmp_path / "whole", values) as made:
        made.run()
    for iteration in (1, 3):
        with supervised(stage, phantoms, tmp_path / "killed", values) as made:
            run_until(made, iteration)
    with supervised(stage, phantoms, tmp_path / "killed", values) as made:
        made.run()
    whole, killed = (tmp_path / folder / stage.folder for folder in ("whole", "killed"))
    assert len(lines_of(whole / "losses.jsonl")) >= 4
    for file in ("losses.jsonl", "models/best.safetensors", "models/answers.json"):
        assert (killed / file).read_bytes() == (whole / file).read_bytes(), file
    assert results_of(killed) == results_of(whole)
