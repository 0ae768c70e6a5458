"""Which predicted boxes hit which true ones, image by image, and all of them by falling score."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from monai.apps.detection.metrics.matching import matching_batch

__all__ = ["THRESHOLDS", "RankedBoxes", "box_row", "overlaps"]

THRESHOLDS = np.arange(40, 100, 5) / 100  # all IoU thresholds of the metrics, each the double nearest to its decimals
_COLUMNS = 5  # score, label, thresholds passed (bits), whether no true box is hit, true boxes hit first


def overlaps(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """IoU of all pairs of boxes in float64; 0 where both are empty.

    MONAI's and torchvision's work in float32 or add an epsilon: an IoU of exactly one half would not pass .5.

    Args:
        first: `[N, 4]` xyxy.
        second: `[M, 4]` xyxy.

    Returns:
        `[N, M]` in [0, 1].
    """
    first, second = first.astype(np.float64)[:, None], second.astype(np.float64)[None]
    low, high = np.maximum(first[..., :2], second[..., :2]), np.minimum(first[..., 2:], second[..., 2:])
    common = (high - low).clip(min=0).prod(-1)
    union = (first[..., 2:] - first[..., :2]).prod(-1) + (second[..., 2:] - second[..., :2]).prod(-1) - common
    return np.divide(common, union, out=np.zeros_like(common), where=union > 0)


def box_row(
    detected: Mapping[str, np.ndarray], true: np.ndarray, label: np.ndarray, classes: int, limit: int
) -> np.ndarray:
    """All that the metrics need to know of an image, as a row of numbers of fixed length.

    Args:
        detected: `boxes` `[n, 4]` xyxy, `scores` `[n]` and `labels` `[n]`; the `limit` best count, of equal scores the
            first.
        true: `[m, 4]` true boxes, xyxy in the same pixels.
        label: `[m]` their classes.
        classes: number of classes.
        limit: predicted boxes that count.

    Returns:
        `[limit * 5 + classes]` float64, to be read by `RankedBoxes`.
    """
    best = np.argsort(-detected["scores"], kind="stable")[:limit]
    boxes, scores, labels = (detected[name][best] for name in ("boxes", "scores", "labels"))
    outside, first = _centers(boxes, labels, true, label)
    table = np.full((limit, _COLUMNS), -1.0)
    passed = _passed(boxes, scores, labels, true, label) @ (1 << np.arange(len(THRESHOLDS)))
    table[: len(best)] = np.stack([scores, labels, passed, outside, first], 1)
    return np.concatenate([table.ravel(), np.bincount(label, minlength=classes)])


@dataclass(frozen=True)
class RankedBoxes:
    """The predicted boxes of a list by falling score; of equal scores those of earlier images come first.

    Attributes:
        image: `[D]` int64, row of the image of each box.
        score: `[D]` float64.
        label: `[D]` int64, its class.
        passed: `[D, 12]` bool, whether it is matched to a true box at each of `THRESHOLDS`, as COCO matches.
        outside: `[D]` bool, whether its centre lies in no true box of its class.
        first: `[D]` int64, in how many true boxes of its class its centre is the first to lie.
        truths: `[N, classes]` int64, true boxes of each image.
    """

    image: np.ndarray
    score: np.ndarray
    label: np.ndarray
    passed: np.ndarray
    outside: np.ndarray
    first: np.ndarray
    truths: np.ndarray

    @classmethod
    def of(cls, rows: np.ndarray, classes: int) -> RankedBoxes:
        """Read the rows `[N, W]` that `box_row` gave for N images."""
        tables = rows[:, :-classes].reshape(len(rows), -1, _COLUMNS)
        image, place = np.nonzero(tables[..., 1] >= 0)
        image, place = (numbers[np.argsort(-tables[image, place, 0], kind="stable")] for numbers in (image, place))
        score = tables[image, place, 0]
        label, passed, outside, first = tables[image, place, 1:].astype(np.int64).T
        bits = (passed[:, None] >> np.arange(len(THRESHOLDS))) & 1
        truths = rows[:, -classes:].astype(np.int64)
        return cls(image, score, label, bits.astype(bool), outside.astype(bool), first, truths)


def _passed(
    boxes: np.ndarray, scores: np.ndarray, labels: np.ndarray, true: np.ndarray, label: np.ndarray
) -> np.ndarray:
    """Whether each box, by falling score, is matched at each threshold, `[n, thresholds]` int64."""
    ignored = np.zeros(len(label), dtype=bool)
    (matched,) = matching_batch(
        overlaps, list(THRESHOLDS), [boxes], [labels], [scores], [true], [label], [ignored], max_detections=len(boxes)
    )
    passed = np.zeros((len(boxes), len(THRESHOLDS)), dtype=np.int64)
    for name, result in matched.items():
        passed[labels == name] = result["dtMatches"].T
    return passed


def _centers(
    boxes: np.ndarray, labels: np.ndarray, true: np.ndarray, label: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """For each box, by falling score: whether its centre hits nothing, and how many true boxes it hits first."""
    center = (boxes[:, None, :2] + boxes[:, None, 2:]) / 2
    inside = ((center >= true[:, :2]) & (center <= true[:, 2:])).all(-1) & (labels[:, None] == label)
    first = inside & (np.cumsum(inside, 0) == 1)
    return ~inside.any(1), first.sum(1)
