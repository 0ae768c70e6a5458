"""Zero-shot classification: the figures of supervised classification under their own names, and what to doubt them by.

The figures come from `MultilabelMetric` (thresholds of .5 and of the validation list), `MulticlassMetric` for exclusive
classes, and, where comparison with papers asks for thresholds chosen on the test list, `ParityThresholdMetric`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from .class_names import metric_suffixes
from .deviation import Deviation
from .item_metric import ItemMetric
from .polarity import Polarity
from .ranking import AreaUnderCurve, Ranking
from .samples import Sampled
from .scored_classes import macro

__all__ = ["PromptControls", "ZeroShotFigures"]

_PREFIX = "zero_shot_"
_SCORE, _BLANK, _MARGIN, _SIDE, _PAIRS = 0, 1, 2, 3, 4  # columns of what is kept of an item and class
_SHUFFLES = 10  # one alone lies too far from chance on short lists to tell anything


class _ScoreMetric(Protocol):
    def __call__(self, prediction: Tensor, target: Mapping[str, Tensor]) -> None: ...
    def reset(self) -> None: ...
    def aggregate(self) -> dict[str, float]: ...
    def samples(self) -> dict[str, Sampled]: ...


class ZeroShotFigures:
    """A classification metric on zero-shot scores, its names with `zero_shot_` in front.

    Args:
        metric: a metric of scores and labels, such as `MultilabelMetric`.

    Example:
        >>> figures = ZeroShotFigures(MultilabelMetric(["edema"]))
        >>> figures({"scores": torch.tensor([[2.0], [-1.0]])}, {"label": torch.tensor([[1.0], [0.0]])})
        >>> figures.aggregate()["zero_shot_auc_macro"]
        1.0
    """

    def __init__(self, metric: _ScoreMetric) -> None:
        self.metric = metric

    def __call__(self, prediction: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> None:
        """Add a batch: `scores` `[B, K]` of the prediction, and the target as the metric takes it."""
        self.metric(prediction["scores"], target)

    def reset(self) -> None:
        """Forget all batches."""
        self.metric.reset()

    def aggregate(self) -> dict[str, float]:
        """The metric's results."""
        return {_PREFIX + name: value for name, value in self.metric.aggregate().items()}

    def samples(self) -> dict[str, Sampled]:
        """What a bootstrap of the latest `aggregate` draws from."""
        return {_PREFIX + name: sampled for name, sampled in self.metric.samples().items()}


class PromptControls(ItemMetric):
    """How much zero-shot scores owe to the images and to the choice of words.

    Args:
        classes: names of the K classes.
        sides: for each item, by its number in the data set, K values: 1 where the finding is on the left only, 0 on the
            right only, else nan, as `finding_sides` returns them.
        seed: of the permutations that `shuffled` stands for.
    """

    def __init__(self, classes: Sequence[str], sides: Sequence[Sequence[float]] | None = None, seed: int = 0) -> None:
        super().__init__()
        self.suffixes = metric_suffixes(classes)
        self.sides = None if sides is None else torch.tensor(sides, dtype=torch.float64).reshape(len(sides), -1)
        self.seed = seed

    def __call__(self, prediction: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> None:
        """Add a batch.

        Args:
            prediction: `scores`, `blank`, `positive`, `negative`, `side` `[B, K]` and `pairs` `[B, K, M]`, as
                `ZeroShotClassifier` returns them.
            target: `label` `[B, K]` float, 0 or 1, nan where it is unknown, or numbers of classes `[B]` int64; `index`
                `[B]` int64, number in the data set.
        """
        label = target["label"]
        label = label if label.ndim > 1 else F.one_hot(label, len(self.suffixes))
        margin = prediction["positive"] - prediction["negative"]
        columns = [prediction["scores"], prediction["blank"], margin, prediction["side"]]
        rows = torch.cat([torch.stack(columns, -1), prediction["pairs"], label[..., None]], -1)
        self.add(rows.detach().float(), target)

    def measure(self, rows: Tensor, index: Tensor) -> dict[str, Sampled]:
        """Metrics by name from what is kept of items and classes `[N, K, 5 + M]`.

        Returns:
            - `zero_shot_auc_macro_blank_image`: with the scores of a black image in place of each image;
            - `zero_shot_auc_macro_shuffled`: with images and labels paired at random, the mean of ten ways;
            - `zero_shot_auc_macro_prompt_deviation`: standard deviation of the macro area over single pairs of an
              affirming and a denying prompt; not for a single pair;
            - `prompt_polarity`: share of the classes whose positive items are closer to the affirming prompts than to
              the denying ones, on average;
            - `side_auc`, `side_auc_CLASS`: how well "left" and "right" are told apart where a finding is on one side
              only; for classes with prompts of both sides.
        """
        values, label = rows[..., :-1].double().numpy(), rows[..., -1].numpy()
        blank, shuffled = self._areas(values[..., _BLANK], label, index), self._shuffled(values, label, index)
        result = macro(f"{_PREFIX}auc_macro_blank_image", blank) | macro(f"{_PREFIX}auc_macro_shuffled", shuffled)
        pairs = [self._areas(values[..., column], label, index) for column in range(_PAIRS, values.shape[-1])]
        if len(pairs) > 1 and pairs[0]:
            macros = [macro("one", parts)["one"] for parts in pairs]
            result[f"{_PREFIX}auc_macro_prompt_deviation"] = Deviation(tuple(macros))
        margins = [(values[label[:, k] == 1, k, _MARGIN], index[label[:, k] == 1]) for k in range(label.shape[1])]
        result |= macro("prompt_polarity", [Polarity(*one) for one in margins if len(one[0])])
        return result | self._told_apart(values[..., _SIDE], index)

    def _shuffled(self, values: np.ndarray, label: np.ndarray, index: Tensor) -> list[AreaUnderCurve]:
        """The areas of all classes for each of some permutations of the images."""
        generator = np.random.default_rng(self.seed)
        orders = [generator.permutation(len(values)) for _ in range(_SHUFFLES)]
        return [area for order in orders for area in self._areas(values[order, :, _SCORE], label, index)]

    @staticmethod
    def _areas(scores: np.ndarray, label: np.ndarray, index: Tensor) -> list[AreaUnderCurve]:
        """The area of each class that has both labels, from scores and labels `[N, K]`."""
        areas = []
        for k in range(label.shape[1]):
            known = ~np.isnan(label[:, k])
            truth = label[known, k] == 1
            if truth.any() and not truth.all():
                areas.append(AreaUnderCurve(Ranking.of(scores[known, k], truth, index[torch.from_numpy(known)])))
        return areas

    def _told_apart(self, scores: np.ndarray, index: Tensor) -> dict[str, Sampled]:
        if self.sides is None:
            return {}
        sides = self.sides[index].numpy()
        chosen = [k for k in range(scores.shape[1]) if not np.isnan(scores[:, k]).any()]
        areas = {
            f"side_auc_{self.suffixes[k]}": area
            for k in chosen
            for area in self._areas(scores[:, k : k + 1], sides[:, k : k + 1], index)
        }
        return macro("side_auc", list(areas.values())) | areas
