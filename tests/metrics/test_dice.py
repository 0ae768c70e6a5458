from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.metrics import compute_dice, compute_iou
from torch import Tensor
from torch.multiprocessing import spawn

from bundle.metrics.bootstrap import bootstrap_interval
from bundle.metrics.dice import SegmentationMetric
from bundle.metrics.samples import value_of

ONE_CLASS = {
    "dice_mgca",
    "dice_image",
    "mdice_fg_bg",
    "dice_pooled_fg",
    "dice_pos",
    "iou",
    "dice_neg",
    "dice_empty_mgca",
    "dice_empty",
    "mdice_fg_bg_empty",
}


def block(rows: int, columns: int) -> Tensor:
    """Mask `[1, 4, 4]` with a block in the upper left corner."""
    mask = torch.zeros(1, 4, 4, dtype=torch.bool)
    mask[:, :rows, :columns] = True
    return mask


def measured(predicted: Tensor, label: Tensor, batches: list[list[int]] | None = None, **options: int) -> dict:
    metric = SegmentationMetric([f"class {k}" for k in range(label.shape[1])], **options)
    for batch in batches or [list(range(len(label)))]:
        target = {"label": label[batch], "index": torch.tensor(batch)}
        metric(predicted[batch].float() * 6 - 3, target)
    return {"values": metric.aggregate(), "samples": metric.samples()}


def random_masks(items: int, classes: int = 1, size: int = 6, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Pairs of masks, among them empty ones on either side and on both."""
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.rand(2, items, classes, size, size, generator=generator)
    share = torch.rand(2, items, classes, 1, 1, generator=generator) * 1.4 - 0.4
    predicted, label = drawn < share
    return predicted, label


# Pixels common, predicted and true: (4, 4, 8), (8, 8, 8), (0, 1, 0), (0, 0, 0), (0, 0, 2). Dice: 2/3, 1, 0, 1, 0.
PREDICTED = torch.stack([block(2, 2), block(4, 2), block(1, 1), block(0, 0), block(0, 0)])
LABEL = torch.stack([block(2, 4), block(4, 2), block(0, 0), block(0, 0), block(1, 2)])


def test_values_by_hand() -> None:
    values = measured(PREDICTED, LABEL, protocol_batch=2)["values"]
    assert values == pytest.approx(
        {
            "dice_mgca": ((2 / 3 + 1) / 2 + (0 + 1) / 2 + 0) / 3,
            "dice_image": (2 / 3 + 1 + 0 + 1 + 0) / 5,
            "dice_pooled_fg": 24 / (13 + 18),
            # Of 80 pixels 67 are predicted, 62 annotated background; in both: 80 - 13 - 18 + 12.
            "mdice_fg_bg": (24 / 31 + 2 * 61 / (67 + 62)) / 2,
            "dice_pos": (2 / 3 + 1 + 0) / 3,
            "iou": (4 / 8 + 1 + 0) / 3,
            "dice_neg": 1 / 2,
            "dice_empty": 2 / 5,
            "dice_empty_mgca": (0 + 1 + 0) / 3,
            "mdice_fg_bg_empty": (0 + 2 * 62 / (80 + 62)) / 2,
        }
    )


def test_each_metric_says_what_it_looked_at() -> None:
    samples = measured(PREDICTED, LABEL)["samples"]
    assert samples["dice_pos"].index.tolist() == samples["iou"].index.tolist() == [0, 1, 4]
    assert samples["dice_neg"].index.tolist() == [2, 3]
    others = ONE_CLASS - {"dice_pos", "iou", "dice_neg"}
    assert {name: len(samples[name].index) for name in others} == dict.fromkeys(others, 5)


def test_without_positives_or_negatives_their_metrics_are_absent() -> None:
    predicted, negatives = torch.zeros(3, 1, 4, 4), torch.zeros(3, 1, 4, 4, dtype=torch.bool)
    values = measured(predicted, negatives)["values"]
    # Nor is there any foreground to pool.
    assert values == {"dice_mgca": 1, "dice_image": 1, "dice_neg": 1, "dice_empty": 1, "dice_empty_mgca": 1}
    values = measured(predicted, ~negatives)["values"]
    assert "dice_neg" not in values
    assert values["dice_pos"] == values["mdice_fg_bg_empty"] == 0


def test_the_empty_mask_scores_the_share_of_negatives() -> None:
    """A list with RSNA's share: 1,218 of 5,337 images positive."""
    label = torch.zeros(5337, 1, 2, 2, dtype=torch.bool)
    label[torch.randperm(5337, generator=torch.Generator().manual_seed(0))[:1218], :, 0] = True
    values = measured(torch.rand(label.shape) > 0.5, label)["values"]
    assert values["dice_empty"] == pytest.approx(1 - 1218 / 5337, abs=1e-12)
    assert values["dice_empty_mgca"] == pytest.approx(1 - 1218 / 5337, abs=1e-3)  # the last batch has one image
    nothing = measured(torch.zeros(label.shape), label)["values"]
    for name in ("dice_empty", "dice_empty_mgca", "mdice_fg_bg_empty"):
        assert values[name] == nothing[name]
    assert nothing["dice_image"] == nothing["dice_empty"]
    assert nothing["dice_mgca"] == nothing["dice_empty_mgca"]
    assert nothing["mdice_fg_bg"] == nothing["mdice_fg_bg_empty"]


@given(st.integers(1, 12), st.integers(0, 10_000))
@settings(deadline=None, max_examples=40)
def test_agrees_with_monai(items: int, seed: int) -> None:
    predicted, label = random_masks(items, seed=seed)
    values = measured(predicted, label)["values"]
    masks = predicted.float(), label.float()
    every = compute_dice(*masks, include_background=True, ignore_empty=False)
    positive = compute_dice(*masks, include_background=True, ignore_empty=True)
    iou = compute_iou(*masks, include_background=True, ignore_empty=True)
    assert values["dice_image"] == pytest.approx(float(every.mean()), abs=1e-6)
    assert values.get("dice_pos", math.nan) == pytest.approx(float(positive.nanmean()), abs=1e-6, nan_ok=True)
    assert values.get("iou", math.nan) == pytest.approx(float(iou.nanmean()), abs=1e-6, nan_ok=True)
    pooled = compute_dice(*(mask.reshape(1, 1, -1, 6) for mask in masks), ignore_empty=True)
    if label.any():
        assert values["dice_pooled_fg"] == pytest.approx(float(pooled), abs=1e-6)
    batches = torch.stack([batch.mean() for batch in every.split(8)])
    assert values["dice_mgca"] == pytest.approx(float(batches.mean()), abs=1e-6)


def test_several_classes_are_averaged_and_named() -> None:
    predicted, label = random_masks(10, classes=3)
    label[:, 2] = False
    found = measured(predicted, label)
    alone = [measured(predicted[:, k : k + 1], label[:, k : k + 1])["values"] for k in range(3)]
    assert "dice_pos_class_2" not in found["values"]
    assert found["values"]["dice_pos"] == pytest.approx((alone[0]["dice_pos"] + alone[1]["dice_pos"]) / 2)
    for name in ONE_CLASS - {"dice_pos", "iou", "dice_neg", "dice_pooled_fg", "mdice_fg_bg_empty"}:
        assert found["values"][name] == pytest.approx(np.mean([one[name] for one in alone]))
        assert found["values"][f"{name}_class_1"] == alone[1][name]
    names = {name for name, values in found["values"].items() if "class" not in name}
    assert names == ONE_CLASS


def test_batches_order_and_repeated_items_do_not_matter() -> None:
    predicted, label = random_masks(21, classes=2)
    expected = measured(predicted, label)["values"]
    order = torch.randperm(21, generator=torch.Generator().manual_seed(1)).tolist()
    for size in (1, 4, 21):
        batches = [order[start : start + size] for start in range(0, 21, size)]
        assert measured(predicted, label, [*batches, [3, 0]])["values"] == expected


def test_protocol_batches_follow_the_list_whatever_arrives() -> None:
    # Per-image Dice 2/3, 1, 0, 1, 0 in batches of three: the short batch weighs as much as the long one.
    for batches in ([[0, 1, 2, 3, 4]], [[4, 2], [0, 3], [1]]):
        values = measured(PREDICTED, LABEL, batches, protocol_batch=3)["values"]
        assert values["dice_mgca"] == pytest.approx(((2 / 3 + 1 + 0) / 3 + (1 + 0) / 2) / 2)


def test_the_threshold_is_a_probability_and_strict() -> None:
    logits = torch.tensor([0.0, 0.1, 1.0, 2.0]).reshape(1, 1, 2, 2)
    label = torch.ones(1, 1, 2, 2, dtype=torch.bool)
    for threshold, pixels in ((0.5, 3), (0.7, 2), (0.75, 1)):  # sigmoid(1) = .731
        metric = SegmentationMetric(["a"], threshold=threshold)
        metric(logits, {"label": label, "index": torch.tensor([0])})
        assert metric.aggregate()["dice_pos"] == pytest.approx(2 * pixels / (pixels + 4))


def test_a_resample_gives_the_metric_of_the_repeated_list() -> None:
    predicted, label = random_masks(9, seed=3)
    samples = measured(predicted, label)["samples"]
    weights = np.array([2, 0, 1, 1, 3, 0, 1, 0, 1])
    rows = np.repeat(np.arange(9), weights)
    expected = measured(predicted[rows], label[rows])["values"]
    for name in ONE_CLASS - {"dice_mgca", "dice_empty_mgca"}:
        drawn = weights[samples[name].index.numpy()][None]
        assert samples[name].resampled(drawn)[0] == pytest.approx(expected[name], abs=1e-12)


def test_intervals_hold_the_values() -> None:
    predicted, label = random_masks(60, seed=5)
    found = measured(predicted, label)
    for name, sampled in found["samples"].items():
        low, high = bootstrap_interval(sampled.resampled, len(sampled.index))
        assert low < found["values"][name] < high
        assert value_of(sampled) == found["values"][name]


def test_what_is_no_mask_of_the_classes_is_refused() -> None:
    metric = SegmentationMetric(["a", "b"])
    with pytest.raises(ValueError, match=r"2 classes got logits \(1, 1, 4, 4\)"):
        metric(torch.zeros(1, 1, 4, 4), {"label": torch.zeros(1, 1, 4, 4, dtype=torch.bool)})


def test_a_prediction_that_is_no_number_is_refused() -> None:
    metric = SegmentationMetric(["a"])
    logits = torch.zeros(3, 1, 4, 4)
    logits[1, 0, 0, 0] = math.nan
    metric(logits, {"label": torch.zeros(3, 1, 4, 4, dtype=torch.bool), "index": torch.tensor([7, 8, 9])})
    with pytest.raises(ValueError, match="item 8 of the list is not a number"):
        metric.aggregate()


def _process(rank: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    shards = [[[0, 2, 4], [6, 8, 10, 12]], [[1, 3, 5, 7, 9, 11]]]
    found = measured(*random_masks(13, classes=2), shards[rank], protocol_batch=4)
    intervals = {name: bootstrap_interval(s.resampled, len(s.index)) for name, s in found["samples"].items()}
    torch.save((found["values"], intervals), f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.dist
def test_two_processes_with_unequal_shards_give_the_result_of_one(tmp_path: Path) -> None:
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    spawn(_process, (str(tmp_path),), nprocs=2)
    found = measured(*random_masks(13, classes=2), protocol_batch=4)
    intervals = {name: bootstrap_interval(s.resampled, len(s.index)) for name, s in found["samples"].items()}
    expected = (found["values"], intervals)
    assert torch.load(tmp_path / "0.pt") == torch.load(tmp_path / "1.pt") == expected
