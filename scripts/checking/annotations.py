"""Labels, boxes and run-length masks of a data list: how many there are of each class and split, and how large."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bundle.data.datalist_form import SPLITS, each_item

__all__ = ["box_figures", "label_counts", "run_length_shares", "spread"]

_VALUES = {1: "positive", 0: "negative", -1: "uncertain", None: "missing"}


def label_counts(datalist: Mapping[str, Any]) -> dict[str, dict[str, dict[str, int]]]:
    """How many labels of each class are positive, negative, uncertain and missing.

    A label that is the number of one class is positive for this class and negative for the others; an item without a
    label is missing for all.

    Args:
        datalist: a list of usable labels.

    Returns:
        By split, class, and `positive`, `negative`, `uncertain` or `missing`; empty where no item has a label.
    """
    classes = datalist.get("classes", [])
    if not any("label" in item for item in each_item(datalist)):
        return {}
    return {split: _labels_of(datalist[split], classes) for split in SPLITS if split in datalist}


def _labels_of(items: Sequence[Mapping[str, Any]], classes: Sequence[str]) -> dict[str, dict[str, int]]:
    lists = [item["label"] for item in items if isinstance(item.get("label"), list)]
    numbers = Counter(item["label"] for item in items if isinstance(item.get("label"), int))
    columns = list(zip(*lists, strict=True)) or [()] * len(classes)
    unlabelled = len(items) - len(lists) - numbers.total()
    counts = {}
    for number, (name, column) in enumerate(zip(classes, columns, strict=True)):
        found = Counter(column)
        found.update({1: numbers[number], 0: numbers.total() - numbers[number], None: unlabelled})
        counts[name] = {word: found[value] for value, word in _VALUES.items()}
    return counts


def box_figures(datalist: Mapping[str, Any]) -> dict[str, Any]:
    """How many boxes there are, and how large they are.

    Args:
        datalist: a list of usable boxes.

    Returns:
        `images` by split: items `with` boxes, `empty` (known to have none) and `unknown`; and `classes`: by class the
        number of boxes by split, and `width`, `height` (px) and `share` (of the image) as smallest, median and largest.
        Empty where no item has boxes.
    """
    classes = datalist.get("box_classes") or datalist.get("classes") or ["box"]
    images: dict[str, dict[str, int]] = {}
    sides: defaultdict[str, list[tuple[float, float, float]]] = defaultdict(list)
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for split in SPLITS:
        items = datalist.get(split, ())
        boxed = [item for item in items if "boxes" in item]
        images[split] = {"with": sum(bool(item["boxes"]) for item in boxed)}
        images[split] |= {"empty": len(boxed) - images[split]["with"], "unknown": len(items) - len(boxed)}
        for item in boxed:
            labels = item.get("box_label") or [item.get("phrase_class", 0)] * len(item["boxes"])
            for (left, top, right, bottom), label in zip(item["boxes"], labels, strict=True):
                name = classes[label] if label < len(classes) else "box"
                area = item["size"][0] * item["size"][1]
                sides[name].append((right - left, bottom - top, (right - left) * (bottom - top) / area))
                counts[name][split] += 1
    if not any(one["with"] + one["empty"] for one in images.values()):
        return {}
    named = [name for name in classes if name in sides] + [name for name in sides if name not in classes]
    return {"images": images, "classes": {name: _sizes(counts[name], sides[name]) for name in named}}


def _sizes(counts: Mapping[str, int], sides: Sequence[tuple[float, float, float]]) -> dict[str, Any]:
    columns = zip(("width", "height", "share"), zip(*sides, strict=True), strict=True)
    return {"boxes": {split: counts.get(split, 0) for split in SPLITS}, **{key: spread(part) for key, part in columns}}


def run_length_shares(datalist: Mapping[str, Any]) -> list[float]:
    """The share of its image that each run-length mask covers, 0 for those that are known to be empty.

    Args:
        datalist: a list of usable run lengths.
    """
    return [_share(item["rle"], item["size"]) for item in each_item(datalist) if "rle" in item]


def _share(codes: Sequence[str], size: Sequence[int]) -> float:
    """The union of runs, which several codes of one image may cover twice, without drawing it."""
    runs = []
    for code in codes:
        numbers = np.array(code.split(), dtype=np.int64).reshape(-1, 2)
        ends = numbers.sum(1).cumsum()
        runs.append(np.stack([ends - numbers[:, 1], ends], 1))
    if not runs:
        return 0.0
    begins, ends = (joined := np.concatenate(runs))[joined[:, 0].argsort()].T
    reached = np.concatenate([[0], np.maximum.accumulate(ends)[:-1]])
    return float(np.maximum(ends - np.maximum(begins, reached), 0).sum() / (size[0] * size[1]))


def spread(values: Sequence[float]) -> list[float]:
    """Smallest, median and largest value."""
    return [float(part) for part in np.quantile(values, [0, 0.5, 1])]
