from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bundle.metrics.bootstrap import bootstrap_interval
from bundle.metrics.grounding import GroundingMetric
from bundle.metrics.grounding_overlap import MapOverlap
from bundle.metrics.map_scores import value_counts

OWN, NORMAL, MOVED = 0, 1, 2

# 2 x 4 pixels; the truth of all pairs is the upper left pair of pixels unless it says otherwise.
TRUTH = torch.tensor([[1, 1, 0, 0], [0, 0, 0, 0]]).bool()
HIT = torch.tensor([[0.62, 0.31, 0.31, 0.02], [0.02, 0.02, 0.02, 0.02]])
MISS = torch.tensor([[0.31, 0.02, 0.62, 0.31], [0.02, 0.02, 0.02, 0.02]])


def look(values: torch.Tensor, pair: int, kind: int = OWN, number: int = 0, truth: torch.Tensor = TRUTH) -> tuple:
    return values, truth, kind, pair, number


def add(metric: GroundingMetric, *looks: tuple) -> None:
    values, truth, kinds, pairs, numbers = zip(*looks, strict=True)
    named = {"kind": kinds, "index": pairs, "phrase_class": numbers}
    metric(values, {"truth": truth} | {name: torch.tensor(numbers) for name, numbers in named.items()})


def measured(*looks: tuple, classes: tuple[str, ...] = ("edema",), threshold: float | None = None) -> dict[str, float]:
    metric = GroundingMetric(classes)
    metric.threshold = threshold
    add(metric, *looks)
    return metric.aggregate()


def test_overlap_by_hand() -> None:
    """At .2 HIT gives 3 pixels of which 2 are true, MISS 3 of which 1 is true."""
    result = measured(look(HIT, 0), look(MISS, 1), threshold=0.2)
    assert result["iou"] == pytest.approx((2 / 3 + 1 / 4) / 2)
    assert result["dice"] == pytest.approx((4 / 5 + 2 / 5) / 2)
    assert result["pixel_precision"] == pytest.approx((2 / 3 + 1 / 3) / 2)
    assert result["pixel_recall"] == pytest.approx((1 + 1 / 2) / 2)
    assert result["threshold"] == 0.2


def test_nothing_above_the_threshold_has_precision_0() -> None:
    result = measured(look(HIT, 0), threshold=0.7)
    assert [result[name] for name in ("iou", "dice", "pixel_precision", "pixel_recall")] == [0, 0, 0, 0]


def test_mean_iou_over_five_thresholds_by_hand() -> None:
    """HIT at .1, .2, .3: 3 pixels, 2 true, 2/3; at .4, .5: 1 pixel, true, 1/2."""
    assert measured(look(HIT, 0))["miou"] == pytest.approx((3 * 2 / 3 + 2 * 1 / 2) / 5)


def test_average_precision_by_hand() -> None:
    """HIT: first of 1, then 2 of 3 (a tie); MISS: second and third of a tie after a miss, then the rest of 8."""
    assert measured(look(HIT, 0))["pixel_ap"] == pytest.approx((1 + 2 / 3) / 2)
    assert measured(look(MISS, 0))["pixel_ap"] == pytest.approx((1 / 3 + 2 / 8) / 2)


def test_pointing_game_with_all_controls_by_hand() -> None:
    mirrored = TRUTH.flip(1)
    result = measured(
        look(HIT, 0),
        look(MISS, 1),
        look(HIT, 2),
        look(HIT, 3),
        look(MISS, 0, NORMAL),
        look(HIT, 1, NORMAL),
        look(MISS, 2, NORMAL),  # pair 3 has no normal image
        look(HIT.flip(1), 0, MOVED, truth=mirrored),
        look(MISS, 1, MOVED, truth=mirrored),  # points to the third column, which is in the mirrored truth
        look(HIT, 2, MOVED, truth=mirrored),
        look(torch.tensor([[0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.4]]), 3, MOVED, truth=mirrored),
    )
    assert result["pointing_game"] == 3 / 4
    assert result["pointing_game_random"] == 2 / 8
    assert result["pointing_game_over_random"] == 3
    assert result["pointing_game_prior"] == pytest.approx(1 / 3)
    assert result["pointing_game_over_prior"] == 2  # two hits of the pairs that have a normal image, to one
    assert result["pointing_game_moved"] == 2 / 4
    assert result["pointing_side_moved"] == 3 / 4


def test_controls_that_were_not_made_and_a_prior_of_0_are_absent() -> None:
    alone = measured(look(HIT, 0))
    assert not {"pointing_game_prior", "pointing_game_over_prior", "pointing_game_moved"} & set(alone)
    never = measured(look(HIT, 0), look(MISS, 0, NORMAL))
    assert never["pointing_game_prior"] == 0
    assert "pointing_game_over_prior" not in never


def test_figures_of_classes_and_their_mean() -> None:
    looks = look(HIT, 0), look(HIT, 1), look(MISS, 2), look(HIT, 3, number=1)
    result = measured(*looks, classes=("edema", "pleural effusion", "nodule"), threshold=0.2)
    assert result["pointing_game_edema"] == pytest.approx(2 / 3)
    assert result["pointing_game_pleural_effusion"] == 1
    assert "pointing_game_nodule" not in result  # nothing to find
    assert result["pointing_game_macro"] == pytest.approx((2 / 3 + 1) / 2)
    assert result["pointing_game"] == 3 / 4
    assert result["dice_pleural_effusion"] == pytest.approx(4 / 5)
    assert result["oracle_dice_macro"] == pytest.approx(
        (result["oracle_dice_edema"] + result["oracle_dice_pleural_effusion"]) / 2
    )
    assert not [name for name in result if "_over_" in name and name.endswith("_macro")]
    assert not [name for name in measured(look(HIT, 0)) if name.endswith(("macro", "edema"))]  # of a single class


def test_images_without_the_finding_do_not_count() -> None:
    empty = torch.zeros_like(TRUTH)
    padded = HIT.clone()
    padded[:, :2] = math.nan
    result = measured(look(HIT, 0), look(MISS, 1, truth=empty), look(padded, 2))  # of 2 the truth is in padding
    assert result == measured(look(HIT, 0))
    metric = GroundingMetric(["edema"])
    add(metric, look(HIT, 0, truth=empty))
    with pytest.raises(ValueError, match="no mask of the list has a pixel in its fitted image"):
        metric.best_threshold()


def test_padding_counts_neither_as_place_nor_as_predicted() -> None:
    padded = HIT.clone()
    padded[1] = math.nan
    padded[0, 2] = math.nan
    result = measured(look(padded, 0), threshold=0.2)
    assert result["pointing_game_random"] == pytest.approx(2 / 3)
    assert result["dice"] == 1


def test_batches_and_repeated_items_change_nothing() -> None:
    looks = [look(HIT, 0), look(MISS, 1), look(HIT, 0, NORMAL), look(MISS, 1, NORMAL), look(HIT, 2, MOVED)]
    expected = measured(*looks)
    metric = GroundingMetric(["edema"])
    for one in [looks[3], looks[1], looks[4], looks[0], looks[2], looks[1]]:
        add(metric, one)
    assert metric.aggregate() == expected
    assert metric.samples()["pointing_game"].index.tolist() == [0, 1]


def test_interval_draws_whole_patients() -> None:
    metric = GroundingMetric(["edema"])
    add(metric, look(HIT, 0), look(HIT, 1), look(MISS, 2))
    metric.aggregate()
    sampled = metric.samples()["pointing_game"]
    assert bootstrap_interval(sampled.resampled, 3, ["a", "a", "a"]) == (pytest.approx(2 / 3), pytest.approx(2 / 3))
    assert bootstrap_interval(sampled.resampled, 3, ["a", "a", "b"]) == (0, 1)


def test_name_of_what_depends_on_no_phrase() -> None:
    metric = GroundingMetric(["edema", "nodule"], prefix="text_independent_")
    metric.threshold = 0.2
    add(metric, look(HIT, 0), look(MISS, 1, number=1))
    assert [name for name in metric.aggregate() if not name.startswith("text_independent_")] == []


def test_without_a_threshold_there_are_only_oracle_figures() -> None:
    result = measured(look(HIT, 0), look(MISS, 1))
    assert not {"dice", "iou", "threshold"} & set(result)
    # Between .02 and .62 the best is any that keeps both values of .31; the lowest of those tried comes first.
    assert result["oracle_dice"] == pytest.approx((4 / 5 + 2 / 5) / 2)
    assert result["oracle_threshold"] == pytest.approx(0.02 + 0.6 / 101, abs=2.5e-4)


def test_best_threshold_prefers_exact_maps() -> None:
    metric = GroundingMetric(["edema"])
    exact = torch.where(TRUTH, 0.5, -0.5)
    add(metric, look(exact, 0), look(torch.where(TRUTH, 0.3, 0.1), 1))
    assert 0.1 <= metric.best_threshold() < 0.3
    metric.threshold = metric.best_threshold()
    assert metric.aggregate()["dice"] == 1


@pytest.mark.parametrize("values", [torch.full((2, 4), math.nan), torch.zeros(2, 3)])
def test_broken_maps_are_refused(values: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="the map of pair 7 of the list has"):
        measured(look(values, 7))


def test_nothing_added_is_refused() -> None:
    with pytest.raises(ValueError, match="before any item was added"):
        GroundingMetric(["edema"]).aggregate()


@settings(max_examples=25)
@given(st.integers(0, 10**6), st.integers(1, 4))
def test_best_threshold_is_that_of_a_plain_search(seed: int, count: int) -> None:
    """Against thresholded masks, on values that lie between the levels."""
    rng = np.random.default_rng(seed)
    maps = (rng.integers(-1900, 1900, (count, 30)) + 0.5) / 2000
    truth = rng.random((count, 30)) < 0.3
    truth[:, 0] = True
    inside, outside = (
        torch.stack([value_counts(torch.from_numpy(one[mask])) for one, mask in zip(maps, masks, strict=True)])
        for masks in (truth, ~truth)
    )
    ends: Any = (torch.from_numpy(maps.min(1)), torch.from_numpy(maps.max(1)))
    overlap = MapOverlap.of(inside, outside, *ends, torch.arange(count))
    tried = np.unique(np.round((np.linspace(maps.min(), maps.max(), 102)[1:-1] + 1) * 2000)) / 2000 - 1
    dices = []
    for threshold in tried:
        mask = maps > threshold
        dices.append((2 * (mask & truth).sum(1) / (mask.sum(1) + truth.sum(1))).mean())
    assert overlap.best_threshold() == pytest.approx(tried[int(np.argmax(dices))])
    at_best = overlap.samples(overlap.best_threshold())["dice"]
    assert at_best.resampled(np.ones((1, count)))[0] == pytest.approx(max(dices))
