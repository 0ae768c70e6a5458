from __future__ import annotations

from typing import Any

import torch
from monai.engines import SupervisedEvaluator
from torch import nn

from bundle.handlers.map_threshold import ValidationMapThreshold
from bundle.handlers.named_metrics import NamedMetrics
from bundle.metrics.grounding import GroundingMetric

TRUTH = torch.tensor([[True, False, False]])


def prepare(batch: Any, *_: Any, **__: Any) -> tuple[Any, Any]:
    number = torch.tensor([0])
    return batch, {"truth": [TRUTH], "kind": number, "index": number, "phrase_class": number}


def evaluator(metric: GroundingMetric, values: list[float], *handlers: Any) -> SupervisedEvaluator:
    return SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=[torch.tensor([[values]])],
        network=nn.Identity(),
        prepare_batch=prepare,
        key_val_metric={"pointing_game": NamedMetrics(metric)},
        val_handlers=list(handlers),
        decollate=False,
    )


def test_best_threshold_of_validation_is_used_in_the_test() -> None:
    validation, test = GroundingMetric(["edema"]), GroundingMetric(["edema"])
    handler = ValidationMapThreshold(validation, test)
    lone = evaluator(test, [0.6, 0.5, 0.1])
    lone.run()
    assert "dice" not in lone.state.metrics
    evaluator(validation, [0.5, 0.3, 0.2], handler).run()
    assert test.threshold is not None
    assert 0.3 <= test.threshold < 0.31  # the lowest threshold that leaves the truth alone
    lone.run()
    assert lone.state.metrics["dice"] == 2 / 3  # .6 and .5 are above it
    assert lone.state.metrics["oracle_dice"] == 1
    assert validation.threshold is None
