"""Detection under the names of the protocols that papers use."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .box_matching import THRESHOLDS, RankedBoxes, box_row
from .box_precision import BoxPrecision
from .class_names import metric_suffixes
from .combined_samples import MacroMean
from .froc import RATES, FrocSensitivity
from .item_metric import ItemMetric
from .samples import Sampled

__all__ = ["DetectionMetric"]

_RANGES = {"map_40_75": (0.40, 0.75), "map_coco": (0.50, 0.95), "ap_50": (0.50, 0.50)}


class DetectionMetric(ItemMetric):
    """Average precision and sensitivity of boxes, over all images of a list.

    - `map_40_75`: average precision at 101 recalls, mean over the IoU thresholds .40, .45, ..., .75, over all images;
    - `map_40_75_mgca`: the same over images with a true and a predicted box alone, as MGCA's code has it: missed images
      and false positives on normal images cost nothing;
    - `map_coco`: thresholds .50, .55, ..., .95; `ap_50`: .50 alone; both over all images;
    - `froc_0125`, `froc_025`, `froc_05`, `froc_1`, `froc_2`, `froc_4`, `froc_8`: sensitivity at 1/8 to 8 false
      positives an image, classes pooled; `froc`: their mean.

    For several classes the precisions are means over the classes that have true boxes, and each class has them with `_`
    and its name behind. Metrics without any true box are undefined and left out.

    Args:
        classes: names of the classes.
        detect: turns a network's output into `boxes` `[n, 4]`, `scores` `[n]` and `labels` `[n]` of each image, as
            `RetinaDetector.detect` and `YoloDetector.detect`.
        limit: predicted boxes of an image that count, all classes together: the best.

    Example:
        >>> metric = DetectionMetric(["opacity"], detect=lambda found: found)
        >>> box, one = torch.tensor([[2.0, 2.0, 8.0, 8.0]]), torch.tensor([0])
        >>> found = [{"boxes": box, "scores": torch.tensor([0.9]), "labels": one}]
        >>> metric(found, {"boxes": box[None], "box_label": one[None], "index": one})
        >>> metric.aggregate()["map_40_75"]
        1.0
    """

    def __init__(
        self, classes: Sequence[str], detect: Callable[[Any], Sequence[Mapping[str, Tensor]]], limit: int = 100
    ) -> None:
        super().__init__()
        self.suffixes = metric_suffixes(classes)
        self.detect = detect
        self.limit = limit

    def __call__(self, prediction: Any, target: Mapping[str, Tensor]) -> None:
        """Add a batch.

        Args:
            prediction: what `detect` takes.
            target: `boxes` `[B, M, 4]` xyxy in the pixels of the predicted ones; `box_label` `[B, M]` int64, -1 where
                there is no box; `index` `[B]` int64, number in the data set.

        Raises:
            ValueError: when a predicted or true label is none of the classes.
        """
        found = [{name: value.detach().cpu().numpy() for name, value in one.items()} for one in self.detect(prediction)]
        boxes, label = target["boxes"].cpu().numpy(), target["box_label"].cpu().numpy()
        rows = [
            self._row(detected, true[of_box >= 0], of_box[of_box >= 0])
            for detected, true, of_box in zip(found, boxes, label, strict=True)
        ]
        self.add(torch.from_numpy(np.stack(rows)), {"index": target["index"].cpu()} if "index" in target else {})

    def measure(self, rows: Tensor, index: Tensor) -> dict[str, Sampled]:
        """Metrics by name from the rows `[N, W]` of `box_row`."""
        ranked = RankedBoxes.of(rows.numpy(), len(self.suffixes))
        every = np.arange(len(index))
        both = every[np.isin(every, ranked.image) & (ranked.truths.sum(1) > 0)]
        result: dict[str, Sampled] = {}
        for name, (low, high) in _RANGES.items():
            result |= self._precisions(name, ranked, low, high, every, index)
        result |= self._precisions("map_40_75_mgca", ranked, *_RANGES["map_40_75"], both, index)
        return result | _sensitivities(ranked, index)

    def _row(self, detected: Mapping[str, np.ndarray], true: np.ndarray, label: np.ndarray) -> np.ndarray:
        classes = len(self.suffixes)
        if max([*detected["labels"], *label, 0]) >= classes:
            raise ValueError(
                f"a detection metric of {classes} classes got the label {max([*detected['labels'], *label])}; give the "
                "metric, the network and the data list the same classes"
            )
        return box_row(detected, true, label, classes, self.limit)

    def _precisions(
        self, name: str, ranked: RankedBoxes, low: float, high: float, images: np.ndarray, index: Tensor
    ) -> dict[str, Sampled]:
        """One precision over some images, by name: of all classes, and of each where there are several."""
        thresholds = (low <= THRESHOLDS) & (high >= THRESHOLDS)
        parts = []
        for number in range(len(self.suffixes)):
            chosen = (ranked.label == number) & np.isin(ranked.image, images)
            rows = np.searchsorted(images, ranked.image[chosen])
            passed = ranked.passed[chosen][:, thresholds]
            parts.append(BoxPrecision(rows, passed, ranked.truths[images, number], index[torch.from_numpy(images)]))
        if len(parts) == 1:
            return {name: parts[0]}
        of_class = {f"{name}_{suffix}": part for suffix, part in zip(self.suffixes, parts, strict=True)}
        return {name: MacroMean.of(parts), **of_class}


def _sensitivities(ranked: RankedBoxes, index: Tensor) -> dict[str, Sampled]:
    """The sensitivity at each rate of false positives, and their mean, by name."""

    def at(*rates: float) -> FrocSensitivity:
        truths = ranked.truths.sum(1)
        return FrocSensitivity(ranked.image, ranked.score, ranked.outside, ranked.first, truths, index, rates)

    single = {f"froc_{rate:g}".replace(".", ""): at(rate) for rate in RATES}
    return {"froc": at(*RATES), **single}
