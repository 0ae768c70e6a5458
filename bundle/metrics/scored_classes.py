"""Logits and labels of classes that an item may have or not, where labels may be missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.special import expit
from torch import Tensor

from .class_names import metric_suffixes
from .combined_samples import MacroMean
from .item_metric import ItemMetric
from .samples import Sampled
from .threshold import accuracy_samples, f1_samples

__all__ = ["LabelledMetric", "ScoredClass", "decided", "macro", "refuse"]


@dataclass(frozen=True)
class ScoredClass:
    """One class on the items whose label is known.

    Attributes:
        name: of the class, as in the data list.
        suffix: its name as part of a metric's name.
        logits: `[N]` float64.
        labels: `[N]` bool.
        index: `[N]` int64, number of each item in its data set.
    """

    name: str
    suffix: str
    logits: np.ndarray
    labels: np.ndarray
    index: Tensor

    @property
    def probability(self) -> np.ndarray:
        """`[N]` float64 in [0, 1]."""
        return expit(self.logits)

    @property
    def has_both_labels(self) -> bool:
        """Whether there are positive and negative items."""
        return bool(self.labels.any() and not self.labels.all())


def macro(name: str, parts: Sequence[Sampled]) -> dict[str, Sampled]:
    """The unweighted mean over classes under a name; nothing where there is no class."""
    return {name: MacroMean.of(parts)} if parts else {}


class LabelledMetric(ItemMetric):
    """Collects logits and labels of K classes, each of which an item may have or not.

    Args:
        classes: names of the K classes.
    """

    def __init__(self, classes: Sequence[str]) -> None:
        super().__init__()
        self.classes = list(classes)
        self.suffixes = metric_suffixes(classes)

    def __call__(self, prediction: Tensor, target: Mapping[str, Tensor]) -> None:
        """Add a batch.

        Args:
            prediction: logits `[B, K]`.
            target: `label` `[B, K]` float, 0 or 1, nan where it is missing or uncertain; `index` `[B]` int64, number in
                the data set.

        Raises:
            ValueError: when the shapes are not those of K classes.
        """
        label = target["label"]
        if prediction.shape != label.shape or prediction.shape[1:] != (len(self.classes),):
            raise ValueError(
                f"a metric of {len(self.classes)} classes got logits {tuple(prediction.shape)} and labels "
                f"{tuple(label.shape)}; give the network as many outputs, and each item as many labels, as classes"
            )
        self.add(torch.stack([prediction.detach().float(), label.float()], -1), target)

    def scored_classes(self, rows: Tensor, index: Tensor) -> list[ScoredClass]:
        """The classes, each with the items `[N, K, 2]` whose label is known.

        Raises:
            ValueError: when a logit is not a number, or a known label is neither 0 nor 1.
        """
        logits, labels = rows.double().unbind(-1)
        refuse(logits.isnan().any(1), index, "the prediction", "is not a number: lower the learning rate")
        known = ~labels.isnan()
        strange = (known & (labels != 0) & (labels != 1)).any(1)
        refuse(strange, index, "a label", "is neither 0 nor 1: mark unknown and uncertain labels as missing")
        return [
            ScoredClass(name, suffix, logits[rows, k].numpy(), labels[rows, k].bool().numpy(), index[rows])
            for k, (name, suffix, rows) in enumerate(zip(self.classes, self.suffixes, known.unbind(1), strict=True))
        ]


def decided(classes: Sequence[ScoredClass], decisions: Sequence[np.ndarray], rule: str) -> dict[str, Sampled]:
    """Accuracy and F1 of decisions under the name of the rule that made them."""
    pairs = list(zip(classes, decisions, strict=True))
    accuracies = [accuracy_samples(decision, one.labels, one.index) for one, decision in pairs]
    scores = [f1_samples(decision, one.labels, one.index) for one, decision in pairs]
    return macro(f"accuracy_macro_{rule}", accuracies) | macro(f"f1_macro_{rule}", scores)


def refuse(wrong: Tensor, index: Tensor, what: str, problem: str) -> None:
    """Refuse items `[N]` bool that are wrong, naming the first."""
    if wrong.any():
        others = int(wrong.sum()) - 1
        raise ValueError(f"{what} of item {int(index[wrong][0])} of the list (and of {others} others) {problem}")
