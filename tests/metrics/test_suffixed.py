"""Figures of a control under names of their own."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bundle.metrics.classification import MulticlassMetric
from bundle.metrics.suffixed import SuffixedMetric

LOGITS = torch.tensor([[3.0, 0.0], [2.0, 1.0], [0.0, 1.0]])
TARGET = {"label": torch.tensor([0, 1, 1]), "index": torch.tensor([0, 1, 2])}


def test_kept_figures_are_those_of_the_metric() -> None:
    alone, metric = (MulticlassMetric(["a", "b"]) for _ in range(2))
    suffixed = SuffixedMetric(metric, "_text_only", ["accuracy", "f1_macro", "absent"])
    for one in (alone, suffixed):
        one(LOGITS, TARGET)
    expected = alone.aggregate()
    assert expected["accuracy"] == pytest.approx(2 / 3)
    assert suffixed.aggregate() == {f"{name}_text_only": expected[name] for name in ("accuracy", "f1_macro")}
    samples = suffixed.samples()
    assert set(samples) == {"accuracy_text_only", "f1_macro_text_only"}
    weights = np.array([[2, 0, 1]])
    assert samples["accuracy_text_only"].resampled(weights) == alone.samples()["accuracy"].resampled(weights)


def test_reset_forgets_all() -> None:
    suffixed = SuffixedMetric(MulticlassMetric(["a", "b"]), "_blank", ["accuracy"])
    suffixed(LOGITS[:1], {"label": torch.tensor([1]), "index": torch.tensor([0])})
    assert suffixed.aggregate() == {"accuracy_blank": 0.0}
    suffixed.reset()
    suffixed(LOGITS, TARGET)
    assert suffixed.aggregate() == {"accuracy_blank": pytest.approx(2 / 3)}
