"""Question answering as a whole: phantoms, tokenizer, network, engines, controls, results."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from monai.transforms import Compose
from torch.utils.data import DataLoader

from bundle.data.answer_prior import prior_scores
from bundle.data.answer_vocabulary import build_vocabulary
from bundle.data.labelled import list_identity
from bundle.data.question_batch import CollateQuestions
from bundle.data.questions import question_items
from bundle.engines.prepare_questions import PrepareBlankQuestions, PrepareQuestions
from bundle.handlers.beside import EvaluateBeside
from bundle.handlers.named_metrics import NamedMetrics
from bundle.handlers.results import Results
from bundle.losses.masked_bce import MaskedBCE
from bundle.metrics.vqa import AnswerAccuracy, VqaMetric
from bundle.networks.blocks.answer_head import AnswerHead
from bundle.networks.blocks.question_fusion import QuestionFusion
from bundle.networks.encoders.image_encoder import TimmEncoder
from bundle.networks.encoders.text_encoder import TextEncoder
from bundle.networks.nets.answerer import Answerer
from bundle.transforms.radiograph import FitRadiographd, LoadRadiographd
from bundle.transforms.tokenize import load_tokenizer

CPU = torch.device("cpu")
READ = Compose([LoadRadiographd("image"), FitRadiographd("image", 64)])


@pytest.fixture
def tokenizer(phantom_store: Path) -> Path:
    return phantom_store / "tokenizer"


def network(answers: int, words: int) -> Answerer:
    torch.manual_seed(0)
    source = {"vocab_size": words, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    text_encoder = TextEncoder({**source, "intermediate_size": 32}, 0, False, pooling="tokens")
    image_encoder = TimmEncoder("resnet18", channels=(8, 8, 16, 16), stem_width=8)
    fusion = QuestionFusion(16, 16, width=16)
    return Answerer(image_encoder, text_encoder, fusion, AnswerHead(fusion.joint_width, answers))


def evaluator(data: DataLoader, answerer: Answerer, prepare: Any, metric: Any, handlers: Sequence[Any] = ()) -> Any:
    return SupervisedEvaluator(
        CPU,
        data,
        answerer,
        prepare_batch=prepare,
        decollate=False,
        key_val_metric={f"vqa_accuracy_overall{metric.suffix}": NamedMetrics(metric)},
        val_handlers=list(handlers),
    )


def test_training_and_evaluation_with_every_baseline(phantoms: Path, tokenizer: Path, tmp_path: Path) -> None:
    path = phantoms / "datalist.json"
    vocabulary = build_vocabulary(path)
    items = {split: question_items(path, split, vocabulary) for split in ("training", "test")}
    collate = CollateQuestions(tokenizer)
    assert collate.count_cut(items["test"]) == 0
    training, test = (
        DataLoader([READ(item) for item in part], 16, collate_fn=collate)
        for part in (items["training"][:64], items["test"])
    )
    answerer = network(len(vocabulary), len(load_tokenizer(tokenizer)))
    prepare, blank = (kind(0.449, 0.226, len(vocabulary)) for kind in (PrepareQuestions, PrepareBlankQuestions))

    losses: list[float] = []

    def loss(prediction: torch.Tensor, target: dict[str, torch.Tensor]) -> torch.Tensor:
        value = MaskedBCE()(prediction, target)
        losses.append(float(value.detach()))
        return value

    optimizer = torch.optim.AdamW(answerer.parameters(), 1e-3)
    SupervisedTrainer(CPU, 2, training, answerer, optimizer, loss, prepare_batch=prepare, decollate=False).run()
    assert sum(losses[-4:]) < sum(losses[:4])

    control = evaluator(test, answerer, blank, AnswerAccuracy("_blank_image"))
    groups = [item["patient"] for item in items["test"]]
    results = Results(tmp_path / "results.json", "vqa", list_identity(path), "training", groups=groups, resamples=20)
    metric = VqaMetric(prior_scores(items["training"], items["test"]))
    main = evaluator(test, answerer, prepare, metric, [EvaluateBeside([control]), results])
    for _ in range(2):  # a second evaluation finds the names of the first
        main.run()
    figures = json.loads((tmp_path / "results.json").read_text())["metrics"]
    count = len(items["test"])
    for suffix in ("", "_blank_image", "_prior"):
        entry = figures[f"vqa_accuracy_overall{suffix}"]
        assert entry["n"] == count
        assert 0 <= entry["low"] <= entry["value"] <= entry["high"] <= 1
    assert figures["vqa_questions"]["value"] == count
    assert figures["vqa_accuracy_closed"]["n"] == figures["vqa_questions_closed"]["value"]


def test_a_control_needs_a_name_of_its_own(phantoms: Path, tokenizer: Path) -> None:
    path = phantoms / "datalist.json"
    vocabulary = build_vocabulary(path)
    items = [READ(item) for item in question_items(path, "test", vocabulary)[:4]]
    data = DataLoader(items, 4, collate_fn=CollateQuestions(tokenizer))
    answerer = network(len(vocabulary), len(load_tokenizer(tokenizer)))
    prepare = PrepareQuestions(0.449, 0.226, len(vocabulary))
    control = evaluator(data, answerer, prepare, AnswerAccuracy())
    with pytest.raises(
        ValueError, match=r"the name vqa_accuracy_.*, which is taken: give the control's metric a suffix"
    ):
        evaluator(data, answerer, prepare, VqaMetric(), [EvaluateBeside([control])]).run()
