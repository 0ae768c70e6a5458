from __future__ import annotations

from typing import Any

import pytest
import torch
from monai.engines import SupervisedEvaluator
from torch import Tensor, nn

from bundle.handlers.named_metrics import NamedMetrics
from bundle.handlers.validation_thresholds import ValidationThresholds
from bundle.metrics.classification import MultilabelMetric

CLASSES = ["edema", "hernia"]


def prepare(batch: dict[str, Tensor], *_: Any, **__: Any) -> tuple[Tensor, dict[str, Tensor]]:
    return batch["image"], {"label": batch["label"], "index": batch["index"]}


def evaluator(metric: MultilabelMetric, scores: list[list[float]], label: list[list[float]], *handlers: Any) -> Any:
    """An evaluator whose network gives the scores as they are."""
    batch = {"image": torch.tensor(scores), "label": torch.tensor(label), "index": torch.arange(len(label))}
    return SupervisedEvaluator(
        device="cpu",
        val_data_loader=[batch],
        network=nn.Identity(),
        prepare_batch=prepare,
        key_val_metric={"auc_macro": NamedMetrics(metric)},
        val_handlers=list(handlers),
        decollate=False,
    )


@pytest.fixture
def metrics() -> tuple[MultilabelMetric, MultilabelMetric]:
    return MultilabelMetric(CLASSES), MultilabelMetric(CLASSES)


SCORES = [[-2.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [-3.0, 1.0]]
LABEL = [[1.0, 0.0], [0.0, 0.0], [1.0, 1.0], [0.0, 1.0]]


def test_thresholds_reach_the_test_metric(metrics: tuple[MultilabelMetric, MultilabelMetric]) -> None:
    evaluator(metrics[0], SCORES, LABEL, ValidationThresholds(*metrics)).run()
    # F1 of edema at >= -3, -2, -1, 0: 4/6, 4/5, 2/4, 2/3.
    assert metrics[1].thresholds == pytest.approx(
        {"edema": 1 / (1 + 2.718281828**2), "hernia": 1 / (1 + 1 / 2.718281828)}
    )
    test = evaluator(metrics[1], [[-1.5, 5.0], [-2.5, -5.0]], [[1.0, 1.0], [0.0, 0.0]])
    test.run()
    assert test.state.metrics["f1_macro_val"] == 1
    assert test.state.metrics["f1_macro_05"] == 0.5  # edema is missed: F1 0
    assert metrics[0].thresholds is None


def test_without_validation_there_are_no_such_figures(metrics: tuple[MultilabelMetric, MultilabelMetric]) -> None:
    test = evaluator(metrics[1], SCORES, LABEL)
    ValidationThresholds(*metrics)
    test.run()
    assert "f1_macro_05" in test.state.metrics
    assert not [name for name in test.state.metrics if name.endswith("_val")]


def test_each_validation_renews_them(metrics: tuple[MultilabelMetric, MultilabelMetric]) -> None:
    validation: SupervisedEvaluator = evaluator(metrics[0], SCORES, LABEL, ValidationThresholds(*metrics))
    validation.run()
    before = metrics[1].thresholds
    validation.data_loader[0]["image"] += 1
    validation.run()
    assert before is not None
    assert metrics[1].thresholds is not None
    assert metrics[1].thresholds["hernia"] > before["hernia"]
