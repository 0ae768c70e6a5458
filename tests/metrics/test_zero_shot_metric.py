import math

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from bundle.metrics.bootstrap import bootstrap_interval
from bundle.metrics.classification import MulticlassMetric, MultilabelMetric
from bundle.metrics.parity_threshold import ParityThresholdMetric
from bundle.metrics.samples import value_of
from bundle.metrics.zero_shot import PromptControls, ZeroShotFigures

NAN = math.nan
CLASSES = ["edema", "nodule"]


def made(items: int = 40, pairs: int = 3, seed: int = 0):
    """Scores that follow the labels, of which some are missing; sides that the second class's prompts do not tell."""
    generator = torch.Generator().manual_seed(seed)
    label = (torch.rand(items, 2, generator=generator) < 0.4).float()
    noise = torch.randn(items, 2, pairs + 3, generator=generator)
    side = torch.where(torch.rand(items, 2, generator=generator) < 0.5, 1.0, 0.0)
    side = torch.where(label == 1, side, NAN)
    prediction = {
        "scores": noise[..., 0] + label,
        "blank": torch.tensor([0.3, -0.2]).expand(items, 2),
        "positive": noise[..., 1] + label,
        "negative": torch.zeros(items, 2),
        "side": torch.stack([noise[:, 0, 2] + side[:, 0].nan_to_num(0.5), torch.full((items,), NAN)], 1),
        "pairs": noise[..., 3:] + label[..., None],
    }
    label[::7, 0] = NAN
    return prediction, {"label": label, "index": torch.arange(items)}, side


def results(metric, prediction, target, batches=1):
    for rows in torch.arange(len(target["label"])).chunk(batches):
        metric({k: v[rows] for k, v in prediction.items()}, {k: v[rows] for k, v in target.items()})
    return metric.aggregate()


def areas(scores, label):
    known = ~label.isnan()
    return [roc_auc_score(label[known[:, k], k], scores[known[:, k], k]) for k in range(label.shape[1])]


def test_figures_are_those_of_the_metric_under_their_own_names():
    prediction, target, _ = made()
    figures = ZeroShotFigures(MultilabelMetric(CLASSES, thresholds={"edema": 0.5, "nodule": 0.4}))
    values = results(figures, prediction, target, batches=3)
    plain = MultilabelMetric(CLASSES, thresholds={"edema": 0.5, "nodule": 0.4})
    plain(prediction["scores"], target)
    assert values == {f"zero_shot_{name}": value for name, value in plain.aggregate().items()}
    assert values["zero_shot_auc_macro"] == pytest.approx(np.mean(areas(prediction["scores"], target["label"])))
    assert {"zero_shot_ap_macro", "zero_shot_f1_macro_05", "zero_shot_accuracy_macro_val"} <= values.keys()
    assert figures.samples().keys() == values.keys() - {
        "zero_shot_classes_skipped",
        "zero_shot_classes_without_threshold",
    }
    figures.reset()
    assert results(figures, prediction, target) == values


def test_thresholds_of_the_test_list_have_their_own_class():
    prediction, target, _ = made()
    values = results(ZeroShotFigures(ParityThresholdMetric(CLASSES)), prediction, target)
    assert set(values) == {f"zero_shot_{name}_test" for name in ("f1_macro", "accuracy_macro", "f1_macro_mcc")}


def test_controls_by_hand():
    prediction, target, side = made()
    metric = PromptControls(CLASSES, side.tolist(), seed=3)
    values = results(metric, prediction, target, batches=4)
    label = target["label"]
    each = [np.mean(areas(prediction["pairs"][..., m], label)) for m in range(3)]
    generator = np.random.default_rng(3)
    shuffled = [np.mean(areas(prediction["scores"][generator.permutation(40)], label)) for _ in range(10)]
    known = ~side[:, 0].isnan()
    told = roc_auc_score(side[known, 0], prediction["side"][known, 0])
    assert values == pytest.approx(
        {
            "zero_shot_auc_macro_blank_image": 0.5,
            "zero_shot_auc_macro_shuffled": np.mean(shuffled),
            "zero_shot_auc_macro_prompt_deviation": np.std(each, ddof=1),
            "prompt_polarity": 1.0,
            "side_auc": told,
            "side_auc_edema": told,
        }
    )
    for name, sampled in metric.samples().items():
        assert value_of(sampled) == pytest.approx(values[name])
        low, high = bootstrap_interval(sampled.resampled, len(sampled.index), resamples=60)
        assert low <= values[name] <= high or "deviation" in name


def test_nothing_depends_on_order_or_batches():
    prediction, target, side = made()
    once = results(PromptControls(CLASSES, side.tolist()), prediction, target)
    order = torch.randperm(40, generator=torch.Generator().manual_seed(1))
    twice = torch.cat([order, order[:5]])
    moved = results(
        PromptControls(CLASSES, side.tolist()),
        {name: value[twice] for name, value in prediction.items()},
        {name: value[twice] for name, value in target.items()},
        batches=6,
    )
    assert moved == once


def test_polarity_tells_prompts_that_say_the_opposite():
    """Of edema the denying prompt fits ill patients better; the ranking may be right nonetheless."""
    prediction, target, _ = made()
    prediction["negative"] = torch.tensor([5.0, 0.0]).expand(40, 2)
    values = results(PromptControls(CLASSES), prediction, target)
    assert values["prompt_polarity"] == 0.5
    assert "side_auc" not in values


def test_what_a_list_or_a_prompt_set_lacks_is_left_out():
    prediction, target, side = made(pairs=1)
    target["label"][:, 1] = 0
    prediction["negative"] = torch.full((40, 2), NAN)
    values = results(PromptControls(CLASSES, torch.full_like(side, NAN).tolist()), prediction, target)
    assert set(values) == {"zero_shot_auc_macro_blank_image", "zero_shot_auc_macro_shuffled"}
    assert values["zero_shot_auc_macro_blank_image"] == 0.5


def test_class_numbers_are_taken_one_against_all():
    prediction, target, _ = made()
    target["label"] = torch.arange(40) % 2
    values = results(PromptControls(CLASSES, seed=1), prediction, target)
    label = torch.nn.functional.one_hot(target["label"], 2).float()
    generator = np.random.default_rng(1)
    expected = [np.mean(areas(prediction["scores"][generator.permutation(40)], label)) for _ in range(10)]
    assert values["zero_shot_auc_macro_shuffled"] == pytest.approx(np.mean(expected))
    figures = results(ZeroShotFigures(MulticlassMetric(CLASSES)), prediction, target)
    right = prediction["scores"].argmax(1) == target["label"]
    assert figures["zero_shot_accuracy"] == pytest.approx(float(right.float().mean()))
