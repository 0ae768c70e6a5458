"""M3AE's pre-training as a user runs it: what a run leaves, what it starts from, and how it goes on after a kill."""

from __future__ import annotations

import json
import math
import os
import re
import signal
from pathlib import Path
from typing import Any

import cv2
import pytest
import torch
import torch.multiprocessing as mp
from ignite.engine import Events
from m3ae_runs import M3AE, SMALL, m3ae_run
from safetensors.torch import load_file
from supervised_runs import lines_of, results_of
from torch import Tensor, nn
from workflows import ONE_STEP, workflow

from bundle.data.packed import PackedDataset
from bundle.inferers.pretraining_run import PretrainingRun
from bundle.transforms.mask_tokens import MaskTokens

EPOCHS, STEPS = 2, 7
OFTEN = {"max_epochs": EPOCHS, "val_interval": 1, "checkpoint_every": 2}
ROBERTA = {
    **SMALL["text_source"],
    "model_type": "roberta",
    "pad_token_id": 0,  # of the store's tokenizer
    "type_vocab_size": 1,
    "max_position_embeddings": 257,
}
TERMS = ("masked_language", "masked_image", "matching")
FIGURES = ("masked_word_accuracy", "masked_word_perplexity", "matching_accuracy", "matching_auc", "masked_image_error")

Run = tuple[Path, nn.Module]


@pytest.fixture(scope="module")
def run(phantom_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished run, with the network as it was."""
    return m3ae_run(phantom_store, tmp_path_factory.mktemp("run"), OFTEN)


@pytest.fixture(scope="module")
def shown(phantom_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run with a text encoder of RoBERTa's kind, whose reports may be read."""
    values = {"text_source": ROBERTA, "show_words": True}
    return m3ae_run(phantom_store, tmp_path_factory.mktemp("shown"), values)


def texts_of(store: Path, split: str = "validation") -> str:
    """All reports of a split, in lower case."""
    datalist = json.loads((store.parent / "datalist.json").read_text(encoding="utf-8"))
    return " ".join(f"{item.get('findings')} {item.get('impression')}" for item in datalist[split]).lower()


def words_of(text: str) -> set[str]:
    """Words of more than three letters."""
    return set(re.findall("[a-z]{4,}", text.lower()))


def output_of(network: Any, store: Path) -> dict[str, Tensor]:
    """What a network says of the validation split, with masked words, patches and pairs that are always the same."""
    batch = PackedDataset(store, "validation").__getitems__(range(8))
    ids, mask = batch["input_ids"], batch["attention_mask"]
    masked = MaskTokens(store / "tokenizer", seed=0)(ids, mask)
    image = (batch["image"].float() / 255 - 0.449) / 0.226
    with torch.no_grad():
        return network.eval()(image, ids, mask, batch["lengths"], batch["text_id"], **masked)


# ---------------------------------------------------------------------------------------------------------------------
# What a run leaves
# ---------------------------------------------------------------------------------------------------------------------
def test_losses_are_the_sum_of_the_terms(run: Run) -> None:
    losses = lines_of(run[0] / "losses.jsonl")
    assert [line["iteration"] for line in losses] == list(range(1, EPOCHS * STEPS + 1))
    for line in losses:
        assert set(line) == {"iteration", "loss", "gradient_norm", *TERMS}
        assert line["loss"] == pytest.approx(sum(line[name] for name in TERMS), rel=1e-6)
    assert losses[-1]["loss"] < losses[0]["loss"]


def test_figures_of_validations(run: Run) -> None:
    figures = lines_of(run[0] / "metrics.jsonl")
    assert [line["epoch"] for line in figures] == [1, 2]
    for line in figures:  # the eight pairs are one batch
        assert line["masked_word_perplexity"] == pytest.approx(math.exp(line["validation_masked_language"]), rel=1e-4)
        assert line["masked_image_error"] == pytest.approx(line["validation_masked_image"], rel=1e-4)
        accuracies = line["masked_word_accuracy"] + line["matching_accuracy"]
        assert line["pretraining_score"] == pytest.approx(accuracies - line["masked_image_error"])
    assert figures[1]["masked_word_perplexity"] < figures[0]["masked_word_perplexity"] < 300  # words there are


def test_results_have_intervals(run: Run) -> None:
    results, last = results_of(run[0]), lines_of(run[0] / "metrics.jsonl")[-1]
    assert results["stage"] == "pretraining"
    for name in FIGURES:
        entry = results["metrics"][name]
        assert entry["value"] == last[name]
        assert entry["low"] <= entry["value"] <= entry["high"]
        assert entry["low"] < entry["high"]
        assert entry["n"] == 8
    assert results["metrics"]["pretraining_score"]["value"] == last["pretraining_score"]


def test_pictures_of_each_validation(run: Run) -> None:
    paths = sorted((run[0] / "pictures").iterdir())
    assert [path.name for path in paths] == ["epoch_0001.png", "epoch_0002.png"]
    for path in paths:
        assert cv2.imread(str(path)).std() > 10


def test_weights_have_cards_that_say_how_to_build_them(run: Run) -> None:
    models = run[0] / "models"
    names = {f"{part}.{ending}" for part in ("encoder", "model") for ending in ("safetensors", "json")}
    assert {path.name for path in models.iterdir()} == names | {"tokenizer"}
    model, encoder = (load_file(models / f"{part}.safetensors") for part in ("model", "encoder"))
    assert set(model) == set(run[1].state_dict())
    assert set(encoder) == {name for name in model if name.startswith("image_encoder.")}
    assert all(torch.equal(tensor, model[name]) for name, tensor in encoder.items())
    text = SMALL["text_source"] | {"vocab_size": 300, "model_type": "bert"}
    for part in ("encoder", "model"):
        card = json.loads((models / f"{part}.json").read_text(encoding="utf-8"))
        assert card["vision_transformer"] == SMALL["vision_transformer"] | {"image_size": 64}
        assert card["fusion"] == SMALL["fusion"]
        assert card["text_encoder"].items() >= text.items()
        assert (card["method"], card["image_size"]) == ("m3ae", 64)
        assert card["tokenizer"]["vocab_size"] == 300


@pytest.mark.parametrize("name", ["run", "shown"])
def test_run_is_loaded_again(request: pytest.FixtureRequest, phantom_store: Path, name: str) -> None:
    folder, network = request.getfixturevalue(name)
    again = PretrainingRun(folder).network("fp32")
    kind = {"run": "BertModel", "shown": "RobertaModel"}[name]
    assert type(again.text_encoder.model).__name__ == type(network.text_encoder.model).__name__ == kind
    before, after = output_of(network, phantom_store), output_of(again, phantom_store)
    assert before.keys() == after.keys() >= {"mlm_logits", "mim_prediction", "matching_logits"}
    assert [key for key in before if not torch.equal(before[key], after[key])] == []


# ---------------------------------------------------------------------------------------------------------------------
# Words of reports
# ---------------------------------------------------------------------------------------------------------------------
def test_examples_hold_no_word_of_a_report(run: Run, phantom_store: Path) -> None:
    vocabulary = json.loads((phantom_store / "tokenizer" / "tokenizer.json").read_text())["model"]["vocab"]
    reports = texts_of(phantom_store)
    known = {word for word in vocabulary if len(word) > 3 and word.isalpha() and word in reports}
    assert len(known) > 20
    paths = sorted((run[0] / "examples").iterdir())
    assert [path.name for path in paths] == ["epoch_0001.txt", "epoch_0002.txt"]
    for path in paths:
        head, rows = path.read_text(encoding="utf-8").split("\n\n", 1)
        assert "what the network named" in head
        assert words_of(rows) <= {"position", "shown", "probability", "rank", "masked", "replaced", "kept"}
        assert [word for word in known if word in rows.lower()] == []
        assert rows.count("row ") == 8


def test_examples_hold_words_where_that_was_asked_for(shown: Run, phantom_store: Path) -> None:
    (path,) = (shown[0] / "examples").iterdir()
    rows = path.read_text(encoding="utf-8").split("\n\n", 1)[1]
    assert "right word: guesses" in rows
    assert len(words_of(rows) & words_of(texts_of(phantom_store))) > 20


# ---------------------------------------------------------------------------------------------------------------------
# Starts
# ---------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("parts", [["text_encoder"], ["image_encoder", "fusion"]])
def test_a_start_changes_its_parts_alone(run: Run, phantom_store: Path, tmp_path: Path, parts: list[str]) -> None:
    weights = run[0] / "models" / "model.safetensors"
    values = {**SMALL, **ONE_STEP, "start": str(weights), "start_parts": parts, "seed": 7, "learning_rate": 0.0}
    with workflow(phantom_store, tmp_path, M3AE, values) as made:
        network = made.parser.get_parsed_content("network_def")
        before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        made.run()
        after = network.state_dict()
    source = load_file(weights)
    taken = {name for name in after if name.split(".")[0] in parts}
    assert {name for name in after if not torch.equal(before[name], after[name])} <= taken
    assert [name for name in taken if not torch.equal(source[name], after[name])] == []
    assert {name.split(".")[0] for name in taken if not torch.equal(before[name], source[name])} == set(parts)


# ---------------------------------------------------------------------------------------------------------------------
# Kills
# ---------------------------------------------------------------------------------------------------------------------
SPARSE = {
    "train::trainer::train_handlers": "$[x for x in @train::handlers if type(x).__name__ != 'Curves']",
    "validate::evaluator::val_handlers": "$[x for x in @validate::handlers if type(x).__name__ != 'Reconstructions']",
}
"""Values for a run without pictures, which take longer than all the rest."""


def killed(store: Path, output: Path, iteration: int) -> None:
    """A run that is killed after some steps."""
    torch.set_num_threads(1)
    with workflow(store, output, M3AE, {**SMALL, **OFTEN, **SPARSE}) as made:
        made.trainer.add_event_handler(
            Events.ITERATION_COMPLETED(once=iteration), lambda: os.kill(os.getpid(), signal.SIGKILL)
        )
        made.run()


def timeless(folder: Path) -> list[dict[str, Any]]:
    """The figures of validations, without those of a clock."""
    return [{key: line[key] for key in (*FIGURES, "pretraining_score")} for line in lines_of(folder / "metrics.jsonl")]


@pytest.mark.slow
@pytest.mark.dist
@pytest.mark.timeout(900)
def test_killed_run_continues_bit_for_bit(run: Run, phantom_store: Path, tmp_path: Path) -> None:
    folder = tmp_path / "pretrain" / "m3ae"
    for iteration, saved in ((5, 4), (9, 8)):  # the second one, itself continued, dies in the second epoch
        # Not forked: a fork hangs where threads of autograd have run.
        process = mp.get_context("spawn").Process(target=killed, args=(phantom_store, tmp_path, iteration))
        process.start()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        assert max(path.stem for path in (folder / "checkpoints").iterdir()) == f"checkpoint_{saved:010d}"
        assert lines_of(folder / "losses.jsonl")[-1]["iteration"] == iteration
    m3ae_run(phantom_store, tmp_path, {**OFTEN, **SPARSE})
    assert (folder / "log.txt").read_text(encoding="utf-8").count("resumed from") == 2
    assert lines_of(folder / "losses.jsonl") == lines_of(run[0] / "losses.jsonl")
    assert timeless(folder) == timeless(run[0])
    for name in ("models/model.safetensors", "models/encoder.safetensors", "examples/epoch_0002.txt"):
        assert (folder / name).read_bytes() == (run[0] / name).read_bytes(), name
