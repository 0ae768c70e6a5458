from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from sklearn.metrics import accuracy_score, average_precision_score, f1_score, roc_auc_score
from torch import Tensor
from torch.multiprocessing import spawn

from bundle.metrics.bootstrap import bootstrap_interval
from bundle.metrics.classification import MulticlassMetric, MultilabelMetric
from bundle.metrics.samples import value_of

CLASSES = ["edema", "Pleural Effusion", "hernia"]
NAN = math.nan


def multilabel(items: int = 60, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Logits with ties, and labels of which some are missing; of hernia there is none."""
    generator = torch.Generator().manual_seed(seed)
    label = (torch.rand(items, 3, generator=generator) < 0.4).float()
    logits = (torch.randn(items, 3, generator=generator) + label).mul(4).round() / 4
    label[torch.rand(items, 3, generator=generator) < 0.2] = NAN
    label[:, 2] *= 0
    return logits, label


def measured(metric: Any, logits: Tensor, label: Tensor, batches: list[list[int]] | None = None) -> dict[str, float]:
    for batch in batches or [list(range(len(label)))]:
        metric(logits[batch], {"label": label[batch], "index": torch.tensor(batch)})
    return metric.aggregate()


def known(logits: Tensor, label: Tensor, k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Logits, probabilities and labels of a class where the label is there."""
    rows = ~label[:, k].isnan()
    chosen = logits[rows, k].double()
    return chosen.numpy(), chosen.sigmoid().numpy(), label[rows, k].numpy()


def test_multilabel_agrees_with_scikit_learn() -> None:
    logits, label = multilabel()
    values = measured(MultilabelMetric(CLASSES), logits, label)
    areas, precisions, f1, accuracies = [], [], [], []
    for k in range(2):
        scores, probability, truth = known(logits, label, k)
        areas.append(roc_auc_score(truth, scores))
        precisions.append(average_precision_score(truth, scores))
        f1.append(f1_score(truth, probability > 0.5))
        accuracies.append(accuracy_score(truth, probability > 0.5))
    assert values.pop("ece_macro") > 0
    assert values == pytest.approx(
        {
            "auc_macro": np.mean(areas),
            "auc_edema": areas[0],
            "auc_Pleural_Effusion": areas[1],
            "ap_macro": np.mean(precisions),
            "ap_edema": precisions[0],
            "ap_Pleural_Effusion": precisions[1],
            "f1_macro_05": np.mean(f1),
            "accuracy_macro_05": np.mean(accuracies),
            "classes_skipped": 1,
        },
        abs=1e-12,
    )


def test_missing_labels_are_never_negative() -> None:
    logits = torch.tensor([[3.0], [2.0], [1.0], [0.0]])
    values = measured(MultilabelMetric(["edema"]), logits, torch.tensor([[NAN], [1.0], [NAN], [0.0]]))
    assert values["auc_macro"] == values["auc_edema"] == values["ap_macro"] == 1
    assert values["classes_skipped"] == 0


@pytest.mark.parametrize("label", [1.0, 0.0, NAN])
def test_without_both_labels_there_is_nothing_but_the_count(label: float) -> None:
    metric = MultilabelMetric(["edema"])
    assert measured(metric, torch.zeros(3, 1), torch.full((3, 1), label)) == {"classes_skipped": 1}
    assert metric.samples() == {}


def test_each_metric_counts_the_items_it_looked_at() -> None:
    label = torch.tensor([[1, NAN, 0], [0, 1, 0], [NAN, NAN, 0], [NAN, 0, 0]])
    metric = MultilabelMetric(CLASSES)
    measured(metric, torch.randn(4, 3), label)
    index = {name: sampled.index.tolist() for name, sampled in metric.samples().items()}
    assert index["auc_edema"] == [0, 1]
    assert index["ap_Pleural_Effusion"] == [1, 3]
    assert index["auc_macro"] == index["f1_macro_05"] == index["ece_macro"] == [0, 1, 3]


def test_thresholds_of_the_validation_decide() -> None:
    logits = torch.tensor([-3.0, -2.0, -1.0, 4.0])[:, None]
    label = torch.tensor([0.0, 1.0, 0.0, 1.0])[:, None]
    threshold = float(torch.tensor(-2.0).double().sigmoid())
    values = measured(MultilabelMetric(["edema"], {"edema": threshold}), logits, label)
    # Decided positive: the items -2 (at the threshold), -1 and 4; by .5 only the last.
    assert values["f1_macro_val"] == pytest.approx(4 / 5)
    assert values["accuracy_macro_val"] == 3 / 4
    assert values["f1_macro_05"] == pytest.approx(2 / 3)
    assert values["classes_without_threshold"] == 0
    assert not any(name.endswith("_val") for name in measured(MultilabelMetric(["edema"]), logits, label))


def test_best_thresholds_reach_the_best_f1_of_their_own_list() -> None:
    logits, label = multilabel()
    metric = MultilabelMetric(CLASSES)
    measured(metric, logits, label)
    thresholds = metric.best_thresholds()
    assert thresholds.keys() == {"edema", "Pleural Effusion"}
    metric.thresholds = thresholds
    best = []
    for k in range(2):
        _, probability, truth = known(logits, label, k)
        best.append(max(f1_score(truth, probability >= threshold) for threshold in probability))
    assert metric.aggregate()["f1_macro_val"] == pytest.approx(np.mean(best), abs=1e-12)


def test_classes_without_threshold_are_counted_and_left_out() -> None:
    logits, label = multilabel()
    values = measured(MultilabelMetric(CLASSES, {"edema": 0.5, "hernia": 0.5}), logits, label)
    _, probability, truth = known(logits, label, 0)
    assert values["f1_macro_val"] == pytest.approx(f1_score(truth, probability >= 0.5))
    assert values["classes_without_threshold"] == 1
    assert measured(MultilabelMetric(CLASSES, {}), logits, label)["classes_without_threshold"] == 2


def test_a_resample_gives_the_metrics_of_the_repeated_list() -> None:
    logits, label = multilabel(30, seed=2)
    metric = MultilabelMetric(CLASSES, {"edema": 0.4, "Pleural Effusion": 0.6})
    measured(metric, logits, label)
    weights = np.random.default_rng(0).integers(0, 3, 30)
    rows = np.repeat(np.arange(30), weights)
    expected = measured(MultilabelMetric(CLASSES, metric.thresholds), logits[rows], label[rows])
    for name, sampled in metric.samples().items():
        value = sampled.resampled(weights[sampled.index.numpy()][None])[0]
        assert value == pytest.approx(expected[name], abs=1e-12)


@pytest.mark.parametrize("kind", ["multilabel", "multiclass"])
def test_intervals_hold_the_values(kind: str) -> None:
    metric: Any = MultilabelMetric(CLASSES) if kind == "multilabel" else MulticlassMetric(CLASSES)
    values = measured(metric, *(multilabel(200) if kind == "multilabel" else multiclass(200)))
    for name, sampled in metric.samples().items():
        assert value_of(sampled) == values[name]
        low, high = bootstrap_interval(sampled.resampled, len(sampled.index))
        assert low < high
        if "ece" not in name:  # which noise can only raise
            assert low < values[name] < high


def test_a_resample_without_a_class_skips_it() -> None:
    label = torch.tensor([[1, 1], [0, 0], [0, 0.0]])
    metric = MultilabelMetric(["rare", "common"])
    measured(metric, torch.tensor([[0.0, 1], [1, 0], [2, 2]]), label)
    assert metric.samples()["auc_macro"].resampled(np.array([[1, 1, 1], [0, 2, 1]]))[0] == (0 + 0.5) / 2
    assert np.isnan(metric.samples()["auc_macro"].resampled(np.array([[0, 2, 1]])))


def test_refusals() -> None:
    metric = MultilabelMetric(CLASSES)
    with pytest.raises(ValueError, match=r"3 classes got logits \(2, 3\) and labels \(2,\)"):
        metric(torch.zeros(2, 3), {"label": torch.zeros(2)})
    with pytest.raises(ValueError, match="not among the classes"):
        MultilabelMetric(CLASSES, {"oedema": 0.5})
    with pytest.raises(ValueError, match="prediction of item 1 of the list"):
        measured(metric, torch.tensor([[0.0] * 3, [NAN] * 3]), torch.zeros(2, 3))
    metric.reset()
    with pytest.raises(ValueError, match="neither 0 nor 1"):
        measured(metric, torch.zeros(2, 3), torch.tensor([[0.0, 1, -1], [0, 1, 1]]))


def multiclass(items: int = 60, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    label = torch.randint(3, (items,), generator=generator)
    logits = torch.randn(items, 3, generator=generator) + torch.eye(3)[label]
    return logits, label


def test_multiclass_agrees_with_scikit_learn() -> None:
    logits, label = multiclass()
    probability, truth = logits.double().softmax(1).numpy(), label.numpy()
    values = measured(MulticlassMetric(CLASSES), logits, label)
    areas = [roc_auc_score(truth == k, probability[:, k]) for k in range(3)]
    assert values.pop("ece") > 0
    expected = {
        "accuracy": accuracy_score(truth, probability.argmax(1)),
        "f1_macro": f1_score(truth, probability.argmax(1), average="macro"),
        "auc_macro": roc_auc_score(truth, probability, multi_class="ovr"),
        "auc_edema": areas[0],
        "auc_Pleural_Effusion": areas[1],
        "auc_hernia": areas[2],
    }
    assert values == pytest.approx(expected, abs=1e-12)


def test_multiclass_values_by_hand() -> None:
    logits = torch.tensor([[2.0, 0, -9], [2, 0, -9], [0, 2, -9], [2, 0, -9]])
    values = measured(MulticlassMetric(CLASSES), logits, torch.tensor([0, 0, 1, 1]))
    right = 1 / (1 + math.exp(-2))  # probability of every decision; three of four come true
    assert values["accuracy"] == 3 / 4
    assert values["f1_macro"] == pytest.approx((4 / 5 + 2 / 3) / 2)  # the class that nobody has or gets is left out
    assert values["auc_macro"] == pytest.approx((2 * 1.5 / 4 + 2 * 1.5 / 4) / 2)
    assert "auc_hernia" not in values
    assert values["ece"] == pytest.approx(right - 3 / 4, abs=1e-4)


def test_multiclass_refusals() -> None:
    metric = MulticlassMetric(CLASSES)
    with pytest.raises(ValueError, match="3 exclusive classes"):
        metric(torch.zeros(2, 3), {"label": torch.zeros(2, 3)})
    with pytest.raises(ValueError, match=r"item 1 of the list .* is no class number from 0 to 2"):
        measured(metric, torch.zeros(2, 3), torch.tensor([0, 3]))


def test_batches_order_and_repeated_items_do_not_matter() -> None:
    order = torch.randperm(60, generator=torch.Generator().manual_seed(1)).tolist()
    batches = [order[:7], order[7:50], order[50:] + order[:3]]
    assert measured(MultilabelMetric(CLASSES), *multilabel(), batches) == measured(
        MultilabelMetric(CLASSES), *multilabel()
    )
    assert measured(MulticlassMetric(CLASSES), *multiclass(), batches) == measured(
        MulticlassMetric(CLASSES), *multiclass()
    )


def _with_intervals(batches: list[list[int]] | None = None) -> dict[str, Any]:
    metric = MultilabelMetric(CLASSES)
    values = measured(metric, *multilabel(), batches)
    intervals = {
        name: bootstrap_interval(sampled.resampled, len(sampled.index)) for name, sampled in metric.samples().items()
    }
    multi = measured(MulticlassMetric(CLASSES), *multiclass(), batches)
    return {"values": values, "intervals": intervals, "thresholds": metric.best_thresholds(), "multiclass": multi}


def _process(rank: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    shards = [[list(range(0, 25)), list(range(25, 41))], [list(range(41, 60))]]
    torch.save(_with_intervals(shards[rank]), f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.dist
def test_two_processes_with_unequal_shards_give_the_result_of_one(tmp_path: Path) -> None:
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    spawn(_process, (str(tmp_path),), nprocs=2)
    assert torch.load(tmp_path / "0.pt") == torch.load(tmp_path / "1.pt") == _with_intervals()
