"""Decisions by thresholds that were chosen on the very items they decide, as some papers report them.

Such figures flatter a network and serve comparison with those papers alone; `MultilabelMetric` has the honest ones.
"""

from __future__ import annotations

from torch import Tensor

from .samples import Sampled
from .scored_classes import LabelledMetric, macro
from .threshold import accuracy_samples, best_f1_threshold, best_mcc_threshold, f1_samples

__all__ = ["ParityThresholdMetric"]


class ParityThresholdMetric(LabelledMetric):
    """F1 and accuracy under the rules of MedKLIP and KAD, to stand beside `MultilabelMetric`.

    Intervals hold the thresholds as they were chosen on the whole list. Classes without both labels are left out.

    Args:
        classes: names of the K classes.
    """

    def measure(self, rows: Tensor, index: Tensor) -> dict[str, Sampled]:
        """Metrics by name from logits and labels `[N, K, 2]`.

        Returns:
            - `f1_macro_test`: highest F1 that any threshold reaches on these items (MedKLIP);
            - `accuracy_macro_test`: at that threshold, but with `score > threshold`, which turns down the item that
              gave the threshold (MedKLIP);
            - `f1_macro_mcc_test`: of `score >= threshold` where that has the highest Matthews correlation (KAD).
        """
        classes = [one for one in self.scored_classes(rows, index) if one.has_both_labels]
        accuracies: list[Sampled] = []
        f1: list[Sampled] = []
        f1_of_mcc: list[Sampled] = []
        for one in classes:
            best = best_f1_threshold(one.logits, one.labels)
            accuracies.append(accuracy_samples(one.logits > best, one.labels, one.index))
            f1.append(f1_samples(one.logits >= best, one.labels, one.index))
            correlated = one.logits >= best_mcc_threshold(one.logits, one.labels)
            f1_of_mcc.append(f1_samples(correlated, one.labels, one.index))
        figures = {"accuracy_macro_test": accuracies, "f1_macro_test": f1, "f1_macro_mcc_test": f1_of_mcc}
        return {name: sampled for figure, parts in figures.items() for name, sampled in macro(figure, parts).items()}
