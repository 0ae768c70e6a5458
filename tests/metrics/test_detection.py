from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from bundle.metrics.box_matching import THRESHOLDS, overlaps
from bundle.metrics.detection import DetectionMetric
from bundle.metrics.froc import RATES

NAMES = ["opacity", "left lung", "right lung"]
Image = dict[str, np.ndarray]  # boxes, scores, labels; true, label

UNIT = [0.0, 0.0, 10.0, 10.0]


def image(
    boxes: list[list[float]], scores: list[float], true: list[list[float]], labels: Any = 0, label: Any = 0
) -> Image:
    return {
        "boxes": np.array(boxes, dtype=np.float64).reshape(-1, 4),
        "scores": np.array(scores, dtype=np.float64),
        "labels": np.broadcast_to(np.int64(labels), len(boxes)),
        "true": np.array(true, dtype=np.float64).reshape(-1, 4),
        "label": np.broadcast_to(np.int64(label), len(true)),
    }


def feed(metric: DetectionMetric, images: list[Image], order: list[int]) -> None:
    """Add some images as one batch, with padded boxes."""
    most = max(len(images[number]["true"]) for number in order) + 1
    boxes, label = torch.zeros(len(order), most, 4), torch.full((len(order), most), -1)
    for row, number in enumerate(order):
        count = len(images[number]["true"])
        boxes[row, :count] = torch.from_numpy(images[number]["true"])
        label[row, :count] = torch.tensor(images[number]["label"])
    found = [{name: torch.tensor(images[n][name]) for name in ("boxes", "scores", "labels")} for n in order]
    metric(found, {"boxes": boxes, "box_label": label, "index": torch.tensor(order)})


def measured(images: list[Image], classes: int = 1, **options: Any) -> DetectionMetric:
    metric = DetectionMetric(NAMES[:classes], detect=lambda found: found, **options)
    feed(metric, images, list(range(len(images))))
    return metric


def values(images: list[Image], classes: int = 1, **options: Any) -> dict[str, float]:
    return measured(images, classes, **options).aggregate()


def coco_precision(images: list[Image], classes: int, thresholds: np.ndarray) -> float:
    """Mean average precision by pycocotools; -1 without true boxes."""

    def annotations(boxes: str, labels: str, scores: str | None) -> COCO:
        entries: list[dict[str, Any]] = []
        for number, one in enumerate(images):
            for row, (x1, y1, x2, y2) in enumerate(one[boxes].tolist()):
                entry = {"id": len(entries) + 1, "image_id": number, "category_id": int(one[labels][row])}
                entry |= {"bbox": [x1, y1, x2 - x1, y2 - y1], "area": (x2 - x1) * (y2 - y1), "iscrowd": 0}
                entries.append(entry | ({"score": float(one[scores][row])} if scores else {}))
        made = COCO()
        made.dataset = {
            "images": [{"id": number} for number in range(len(images))],
            "categories": [{"id": number} for number in range(classes)],
            "annotations": entries,
        }
        made.createIndex()
        return made

    evaluation = COCOeval(annotations("true", "label", None), annotations("boxes", "labels", "scores"), "bbox")
    evaluation.params.iouThrs = thresholds
    evaluation.params.maxDets = [100]
    evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]
    evaluation.evaluate()
    evaluation.accumulate()
    precision = evaluation.eval["precision"]
    known = precision[precision > -1]
    return float(known.mean()) if len(known) else -1.0


def random_images(seed: int, count: int, classes: int, grid: int, distinct: bool = False) -> list[Image]:
    """Boxes on a coarse grid: equal boxes, IoUs of exactly one half and (unless distinct) equal scores occur."""
    generator = np.random.default_rng(seed)
    made, scores = [], generator.permutation(10_000) / 10_000
    for _ in range(count):
        true, found = generator.integers(0, 4), generator.integers(0, 8)
        corners = generator.integers(0, grid, (true + found, 2))
        boxes = np.concatenate([corners, corners + generator.integers(1, grid, (true + found, 2))], 1).astype(float)
        labels = generator.integers(0, classes, true + found)
        drawn, scores = scores[:found], scores[found:]
        drawn = drawn if distinct else generator.integers(1, 5, found) / 5
        made.append({"true": boxes[:true], "label": labels[:true], "boxes": boxes[true:], "labels": labels[true:]})
        made[-1]["scores"] = drawn
    return made


def both(one: Image) -> bool:
    return len(one["true"]) > 0 and len(one["boxes"]) > 0


@given(st.integers(0, 10**9), st.integers(1, 6), st.integers(1, 3), st.sampled_from([3, 5, 12]))
def test_precisions_agree_with_pycocotools(seed: int, count: int, classes: int, grid: int) -> None:
    images = random_images(seed, count, classes, grid)
    result = values(images, classes)
    cases = {
        "map_40_75": (images, THRESHOLDS[:8]),
        "map_coco": (images, THRESHOLDS[2:]),
        "ap_50": (images, THRESHOLDS[2:3]),
        "map_40_75_mgca": ([one for one in images if both(one)], THRESHOLDS[:8]),
    }
    for name, (some, thresholds) in cases.items():
        expected = coco_precision(some, classes, thresholds)
        assert result.get(name, -1.0) == pytest.approx(expected, abs=1e-12), name


def test_thresholds_are_those_of_the_protocols() -> None:
    assert THRESHOLDS.tolist() == [0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95]


def test_values_by_hand() -> None:
    # Image 0: a hit of IoU .6 (passes .40 to .60: 5 of 8 thresholds) at .9. Image 1: missed. Image 2: a false alarm at
    # .95, ahead of the hit. Precision 1/2 at recalls up to 1/2: 51 of 101.
    images = [image([[0, 0, 10, 6]], [0.9], [UNIT]), image([], [], [UNIT]), image([UNIT], [0.95], [])]
    result = values(images)
    assert result["map_40_75"] == pytest.approx(5 / 8 * 51 / 101 * 0.5)
    assert result["ap_50"] == pytest.approx(51 / 101 * 0.5)
    assert result["map_coco"] == pytest.approx(3 / 10 * 51 / 101 * 0.5)
    assert result["map_40_75_mgca"] == pytest.approx(5 / 8)
    # One of two boxes is found after one false alarm on three images: at 1/2 an image, not at 1/4.
    assert [result[f"froc_{rate}"] for rate in ("0125", "025", "05", "1", "2", "4", "8")] == [0, 0, *[0.5] * 5]
    assert result["froc"] == pytest.approx(0.5 * 5 / 7)


def test_an_overlap_of_exactly_the_threshold_is_a_hit() -> None:
    half = [0.0, 0.0, 10.0, 5.0]
    assert overlaps(np.array([half]), np.array([UNIT])).item() == 0.5
    assert values([image([half], [0.9], [UNIT])])["ap_50"] == 1


def test_a_second_box_on_an_object_costs_precision_but_not_froc() -> None:
    images = [image([UNIT, UNIT, UNIT], [0.9, 0.8, 0.7], [UNIT]), image([UNIT], [0.6], [UNIT])]
    result = values(images)
    assert result["ap_50"] == pytest.approx((51 * 1 + 50 * 0.5) / 101)
    assert result["froc_0125"] == 1


def test_without_any_true_box_nothing_is_defined() -> None:
    metric = measured([image([UNIT], [0.9], []), image([], [], [])])
    assert metric.aggregate() == {}
    assert metric.samples() == {}


def test_without_any_predicted_box_all_is_missed_and_mgca_sees_nothing() -> None:
    result = values([image([], [], [UNIT]), image([], [], [])])
    assert "map_40_75_mgca" not in result
    assert set(result.values()) == {0.0}
    assert {"map_40_75", "map_coco", "ap_50", "froc"} <= result.keys()


def test_classes_without_true_boxes_are_left_out_of_the_mean() -> None:
    images = [image([UNIT, UNIT], [0.9, 0.8], [UNIT], labels=[0, 2]), image([], [], [UNIT], label=1)]
    result = values(images, classes=3)
    assert result["ap_50_opacity"] == 1
    assert result["ap_50_left_lung"] == 0
    assert "ap_50_right_lung" not in result
    assert result["ap_50"] == 0.5


def test_a_label_outside_the_classes_is_refused() -> None:
    with pytest.raises(ValueError, match="of 1 classes got the label 1"):
        measured([image([UNIT], [0.9], [UNIT], labels=1)])


def test_only_the_best_boxes_of_an_image_count() -> None:
    away = [20.0, 20.0, 30.0, 30.0]
    images = [image([away, away, UNIT], [0.9, 0.8, 0.7], [UNIT])]
    assert values(images)["ap_50"] == pytest.approx(1 / 3)
    assert values(images, limit=2)["ap_50"] == 0


def naive_sensitivity(images: list[Image], rate: float) -> float:
    """The best share found over all cuts that leave no more than so many false positives an image."""
    best, truths = 0.0, sum(len(one["true"]) for one in images)
    for cut in {score for one in images for score in one["scores"].tolist()}:
        false = found = 0
        for one in images:
            kept = one["scores"] >= cut
            center = (one["boxes"][kept, :2] + one["boxes"][kept, 2:]) / 2
            hit = np.zeros((kept.sum(), len(one["true"])), dtype=bool)
            for row, (x, y) in enumerate(center):
                for column, (x1, y1, x2, y2) in enumerate(one["true"]):
                    same = one["labels"][kept][row] == one["label"][column]
                    hit[row, column] = same and x1 <= x <= x2 and y1 <= y <= y2
            false, found = false + int((~hit.any(1)).sum()), found + int(hit.any(0).sum())
        if false <= rate * len(images):
            best = max(best, found / truths)
    return best


@given(st.integers(0, 10**9), st.integers(1, 12), st.integers(1, 2))
def test_froc_agrees_with_a_plain_count(seed: int, count: int, classes: int) -> None:
    images = random_images(seed, count, classes, grid=6)
    result = values(images, classes)
    if not sum(len(one["true"]) for one in images):
        assert result == {}
        return
    expected = [naive_sensitivity(images, rate) for rate in RATES]
    names = [f"froc_{rate:g}".replace(".", "") for rate in RATES]
    assert [result[name] for name in names] == pytest.approx(expected)
    assert result["froc"] == pytest.approx(np.mean(expected))


@given(st.integers(0, 10**9))
def test_neither_order_nor_batches_nor_repetition_matter(seed: int) -> None:
    images = random_images(seed, 7, 2, grid=5)
    shuffled = DetectionMetric(NAMES[:2], detect=lambda found: found)
    for batch in ([6, 3], [3, 0, 5], [1], [2, 4, 1]):
        feed(shuffled, images, batch)
    assert shuffled.aggregate() == values(images, 2)


@given(st.integers(0, 10**9), st.integers(1, 3))
def test_a_resample_is_the_list_with_images_repeated(seed: int, classes: int) -> None:
    images = random_images(seed, 8, classes, grid=6, distinct=True)
    weights = np.random.default_rng(seed).integers(0, 3, (3, len(images)))
    metric = measured(images, classes)
    metric.aggregate()
    for row in weights:
        repeated = [one for one, times in zip(images, row.tolist(), strict=True) for _ in range(times)]
        expected = values(repeated, classes) if repeated else {}
        for name, sampled in metric.samples().items():
            value = sampled.resampled(row[None, sampled.index.numpy()]).item()
            assert value == pytest.approx(expected.get(name, math.nan), nan_ok=True), name


def test_what_a_network_gives_is_decoded_and_measured() -> None:
    metric = DetectionMetric(["opacity"], detect=lambda output: output["decoded"])
    box = torch.tensor([UNIT])
    found = {"boxes": box.clone().requires_grad_(), "scores": torch.tensor([0.9]), "labels": torch.tensor([0])}
    metric({"decoded": [found]}, {"boxes": box[None], "box_label": torch.tensor([[0]]), "index": torch.tensor([5])})
    assert metric.aggregate()["map_40_75"] == 1
    assert metric.samples()["map_40_75"].index.tolist() == [5]
