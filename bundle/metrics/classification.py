"""Classification with missing labels, and of several exclusive classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from scipy.special import softmax
from torch import Tensor

from .calibration import CalibrationError
from .class_names import metric_suffixes
from .item_metric import ItemMetric
from .ranking import AreaUnderCurve, AveragePrecision, Ranking
from .samples import Sampled
from .scored_classes import LabelledMetric, ScoredClass, decided, macro, refuse
from .threshold import accuracy_samples, best_f1_threshold, f1_samples

__all__ = ["MulticlassMetric", "MultilabelMetric"]


class MultilabelMetric(LabelledMetric):
    """Ranking, decisions and calibration of K classes of which an item may have any; K = 1 is the binary case.

    Missing labels are left out, class by class. A class whose known labels are all equal is skipped and counted.

    Args:
        classes: names of the K classes.
        thresholds: probability from which on a class is decided positive, by class, as `best_thresholds` of the
            validation list gives them; may be set later. Without them there are no `_val` metrics.

    Raises:
        ValueError: when a threshold is for no class.

    Example:
        >>> metric = MultilabelMetric(["edema"])
        >>> metric(torch.tensor([[2.0], [-1.0]]), {"label": torch.tensor([[1.0], [0.0]]), "index": torch.arange(2)})
        >>> metric.aggregate()["auc_macro"]
        1.0
    """

    def __init__(self, classes: Sequence[str], thresholds: Mapping[str, float] | None = None) -> None:
        super().__init__(classes)
        if strange := set(thresholds or {}) - set(classes):
            raise ValueError(f"thresholds are given for {sorted(strange)}, which are not among the classes: {classes}")
        self.thresholds = thresholds

    def measure(self, rows: Tensor, index: Tensor) -> dict[str, Sampled]:
        """Metrics by name from logits and labels `[N, K, 2]`."""
        classes = [one for one in self.scored_classes(rows, index) if one.has_both_labels]
        rankings = [Ranking.of(one.logits, one.labels, one.index) for one in classes]
        areas, precisions = [AreaUnderCurve(one) for one in rankings], [AveragePrecision(one) for one in rankings]
        errors = [CalibrationError(one.probability, one.labels, one.index) for one in classes]
        result = macro("auc_macro", areas) | macro("ap_macro", precisions) | macro("ece_macro", errors)
        for one, area, precision in zip(classes, areas, precisions, strict=True):
            result |= {f"auc_{one.suffix}": area, f"ap_{one.suffix}": precision}
        result |= decided(classes, [one.probability > 0.5 for one in classes], "05")
        return result | self._decided_by_thresholds(classes)

    def aggregate(self) -> dict[str, float]:
        """Compute the metrics.

        Returns:
            - `auc_macro`, `auc_CLASS`: area under the ROC curve;
            - `ap_macro`, `ap_CLASS`: average precision;
            - `accuracy_macro_05`, `f1_macro_05`: of the decision probability > .5;
            - `accuracy_macro_val`, `f1_macro_val`: of the decision probability >= `thresholds[class]`, over the classes
              that have one; only where `thresholds` are set;
            - `ece_macro`: calibration error of the positive class's probability, see `CalibrationError`;
            - `classes_skipped`: number of classes without both labels, which are in none of the above;
            - `classes_without_threshold`: number of further classes that are not in the `_val` metrics.

        Raises:
            ValueError: when nothing was added, a logit is not a number, or a known label is neither 0 nor 1.
        """
        result = super().aggregate()
        both = [one.name for one in self.scored_classes(*self.gathered()) if one.has_both_labels]
        result["classes_skipped"] = float(len(self.classes) - len(both))
        if self.thresholds is not None:
            result["classes_without_threshold"] = float(len(set(both) - set(self.thresholds)))
        return result

    def best_thresholds(self) -> dict[str, float]:
        """For each class with both labels the probability from which on a positive decision has the highest F1."""
        classes = self.scored_classes(*self.gathered())
        return {one.name: best_f1_threshold(one.probability, one.labels) for one in classes if one.has_both_labels}

    def _decided_by_thresholds(self, classes: Sequence[ScoredClass]) -> dict[str, Sampled]:
        thresholds = self.thresholds or {}
        chosen = [one for one in classes if one.name in thresholds]
        return decided(chosen, [one.probability >= thresholds[one.name] for one in chosen], "val")


class MulticlassMetric(ItemMetric):
    """Decisions, ranking and calibration of K classes of which an item has exactly one.

    Args:
        classes: names of the K classes.
    """

    def __init__(self, classes: Sequence[str]) -> None:
        super().__init__()
        self.suffixes = metric_suffixes(classes)

    def __call__(self, prediction: Tensor, target: Mapping[str, Tensor]) -> None:
        """Add a batch.

        Args:
            prediction: logits `[B, K]`.
            target: `label` `[B]` int64 in 0 .. K - 1; `index` `[B]` int64, number in the data set.

        Raises:
            ValueError: when the shapes are not those of K classes.
        """
        label = target["label"]
        if prediction.shape != (len(label), len(self.suffixes)) or label.ndim != 1:
            raise ValueError(
                f"a metric of {len(self.suffixes)} exclusive classes got logits {tuple(prediction.shape)} and labels "
                f"{tuple(label.shape)}; give the network as many outputs as classes, and each item one class number"
            )
        self.add(torch.cat([prediction.detach().float(), label[:, None].float()], 1), target)

    def measure(self, rows: Tensor, index: Tensor) -> dict[str, Sampled]:
        """Metrics by name from logits and class number `[N, K + 1]`.

        Returns:
            - `accuracy`: share of items whose most probable class is theirs;
            - `f1_macro`: mean over classes of the F1 of that decision; a class that is never true nor decided is left
              out;
            - `auc_macro`, `auc_CLASS`: area under the ROC curve of a class's probability against all others, over
              classes that have items and are not the only one;
            - `ece`: calibration error of the most probable class's probability, see `CalibrationError`.

        Raises:
            ValueError: when a logit is not a number or a class number is not that of a class.
        """
        refuse(rows.isnan().any(1), index, "the prediction", "is not a number: lower the learning rate")
        labels = rows[:, -1].long().numpy()
        outside = torch.from_numpy((labels < 0) | (labels >= len(self.suffixes)))
        refuse(outside, index, "the label", f"is no class number from 0 to {len(self.suffixes) - 1}")
        probability = softmax(rows[:, :-1].double().numpy(), axis=1)
        chosen = probability.argmax(1)
        members = [labels == k for k in range(len(self.suffixes))]
        areas = {
            f"auc_{suffix}": AreaUnderCurve(Ranking.of(probability[:, k], member, index))
            for k, (suffix, member) in enumerate(zip(self.suffixes, members, strict=True))
        }
        result: dict[str, Sampled] = {
            "accuracy": accuracy_samples(chosen, labels, index),
            "ece": CalibrationError(probability.max(1), chosen == labels, index),
        }
        result |= macro("f1_macro", [f1_samples(chosen == k, member, index) for k, member in enumerate(members)])
        return result | macro("auc_macro", list(areas.values())) | areas
