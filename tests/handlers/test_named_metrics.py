from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from toy_training import bright, make_batches, make_evaluator

from bundle.handlers.named_metrics import NamedMetrics
from bundle.metrics.mask_overlap import MaskOverlap
from bundle.metrics.retrieval import RetrievalMetric
from bundle.metrics.samples import Samples


def test_each_result_is_a_metric_and_one_of_them_the_key() -> None:
    name = "retrieval_r5_image_to_text"
    masks = {"masks": NamedMetrics(MaskOverlap(bright))}
    evaluator = make_evaluator(metrics=masks, key_metric={name: NamedMetrics(RetrievalMetric())})
    evaluator.run(global_epoch=3)
    metrics = evaluator.state.metrics
    assert all(isinstance(value, float) for value in metrics.values())
    assert {name, "retrieval_median_rank_text_to_image", "decoder_mask_dice"} <= metrics.keys()
    assert "masks" not in metrics
    assert evaluator.state.best_metric == metrics[name]
    assert evaluator.state.best_metric_epoch == 3


def test_the_values_behind_the_means_are_kept() -> None:
    both = {"retrieval": NamedMetrics(RetrievalMetric()), "masks": NamedMetrics(MaskOverlap(bright))}
    evaluator = make_evaluator(metrics=both)
    evaluator.run()
    samples, metrics = evaluator.state.samples, evaluator.state.metrics
    for name in ("retrieval_r1_text_to_image", "decoder_mask_dice"):
        assert float(samples[name].values.mean()) == pytest.approx(metrics[name])
        assert sorted(samples[name].index.tolist()) == list(range(8))


def test_every_validation_starts_from_nothing() -> None:
    evaluator = make_evaluator(metrics={"masks": NamedMetrics(MaskOverlap(bright))})
    evaluator.run()
    first: Mapping[str, float] = dict(evaluator.state.metrics)
    torch.nn.init.constant_(evaluator.network.decode.bias, -100)  # the decoder sees nothing any more
    evaluator.run()
    assert evaluator.state.metrics["decoder_mask_dice"] == 0 != first["decoder_mask_dice"]
    assert len(evaluator.state.samples["decoder_mask_dice"].values) == 8


def test_the_order_of_the_batches_does_not_matter() -> None:
    results = []
    for reverse in (False, True):
        evaluator = make_evaluator(
            metrics={"retrieval": NamedMetrics(RetrievalMetric())}, batches=make_batches(8, 3, reverse)
        )
        evaluator.run()
        results.append(evaluator.state.metrics)
    assert results[0] == results[1]
    assert not any(math.isnan(value) for value in results[0].values())


class Waning:
    """A metric of which a part may be undefined."""

    def __init__(self) -> None:
        self.values = {"always": 0.5, "sometimes": 0.25}

    def __call__(self, prediction: Any, target: Any) -> None: ...

    def reset(self) -> None: ...

    def aggregate(self) -> dict[str, float]:
        return self.values

    def samples(self) -> dict[str, Samples]:
        return {name: Samples(torch.tensor([value]), torch.arange(1)) for name, value in self.values.items()}


def test_what_an_earlier_run_had_alone_is_taken_away() -> None:
    metric = Waning()
    evaluator = make_evaluator(metrics={"waning": NamedMetrics(metric), "masks": NamedMetrics(MaskOverlap(bright))})
    evaluator.run()
    assert {"always", "sometimes", "decoder_mask_dice"} <= evaluator.state.metrics.keys()
    metric.values = {"always": 1.0}
    evaluator.run()
    assert evaluator.state.metrics["always"] == 1
    for found in (evaluator.state.metrics, evaluator.state.samples):
        assert "sometimes" not in found
        assert "decoder_mask_dice" in found


def test_an_undefined_key_metric_is_refused() -> None:
    metric = Waning()
    evaluator = make_evaluator(key_metric={"sometimes": NamedMetrics(metric)})
    evaluator.run()
    assert evaluator.state.best_metric == 0.25
    metric.values = {"always": 1.0}
    with pytest.raises(ValueError, match="the key metric sometimes is undefined on this list, which has always"):
        evaluator.run()
