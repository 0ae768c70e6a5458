from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score, matthews_corrcoef, precision_recall_curve

from bundle.metrics.parity_threshold import ParityThresholdMetric

NAN = float("nan")


def measured(logits: torch.Tensor, label: torch.Tensor) -> dict[str, float]:
    metric = ParityThresholdMetric([f"class {k}" for k in range(label.shape[1])])
    metric(logits, {"label": label, "index": torch.arange(len(label))})
    return metric.aggregate()


def test_values_by_hand() -> None:
    logits, label = torch.tensor([[3.0], [2.0], [1.0], [0.0]]), torch.tensor([[1.0], [0.0], [1.0], [0.0]])
    # F1 at >= 0, 1, 2, 3: 4/6, 4/5, 2/4, 2/3. Accuracy with > 1: the items 3 (right) and 2 (wrong) are positive, so 1
    # is missed. The correlation is highest at 1 or 3, .577 both: the lower one.
    assert measured(logits, label) == pytest.approx(
        {"f1_macro_test": 4 / 5, "accuracy_macro_test": 2 / 4, "f1_macro_mcc_test": 4 / 5}
    )


def test_the_rules_on_random_scores() -> None:
    generator = torch.Generator().manual_seed(0)
    label = (torch.rand(80, 3, generator=generator) < 0.3).float()
    logits = torch.randn(80, 3, generator=generator) + label
    label[:, 2] = 0
    label[:5, 0] = NAN
    best, accuracy, correlated = [], [], []
    for k in range(2):
        rows = ~label[:, k].isnan()
        scores, truth = logits[rows, k].numpy(), label[rows, k].numpy()
        precision, recall, thresholds = precision_recall_curve(truth, scores)
        f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
        best.append(f1.max())
        accuracy.append(((scores > thresholds[f1.argmax()]) == truth).mean())
        threshold = max(sorted(scores), key=lambda score: matthews_corrcoef(truth, scores >= score))
        correlated.append(f1_score(truth, scores >= threshold))
    assert measured(logits, label) == pytest.approx(
        {
            "f1_macro_test": np.mean(best),
            "accuracy_macro_test": np.mean(accuracy),
            "f1_macro_mcc_test": np.mean(correlated),
        }
    )


def test_without_any_class_of_both_labels_there_is_nothing() -> None:
    assert measured(torch.zeros(2, 1), torch.ones(2, 1)) == {}
