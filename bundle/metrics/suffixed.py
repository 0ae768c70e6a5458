"""A metric of a control, under names of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from .item_metric import ItemMetric
from .samples import Sampled

__all__ = ["SuffixedMetric"]


class SuffixedMetric(ItemMetric):
    """Some results of another metric, a suffix behind each name.

    Args:
        metric: what is computed; it is used by this one alone.
        suffix: such as "_blank_image".
        names: the results that are kept; those that the metric leaves undefined are absent.

    Example:
        >>> metric = SuffixedMetric(MulticlassMetric(["blot", "gel"]), "_text_only", ["accuracy"])
        >>> metric(torch.tensor([[2.0, 1.0]]), {"label": torch.tensor([0]), "index": torch.arange(1)})
        >>> metric.aggregate()
        {'accuracy_text_only': 1.0}
    """

    def __init__(self, metric: ItemMetric, suffix: str, names: Sequence[str]) -> None:
        self.metric: Any = metric  # before MONAI's constructor, which resets
        super().__init__()
        self.suffix = suffix
        self.names = list(names)

    def __call__(self, prediction: Tensor, target: Mapping[str, Tensor]) -> None:
        """Add a batch, as the metric takes it."""
        self.metric(prediction, target)

    def reset(self) -> None:
        """Forget all batches."""
        super().reset()
        self.metric.reset()

    def gathered(self) -> tuple[Tensor, Tensor]:
        """All rows of the metric and their numbers in the data set."""
        return self.metric.gathered()

    def measure(self, rows: Tensor, index: Tensor) -> dict[str, Sampled]:
        """The kept results, renamed."""
        found = self.metric.measure(rows, index)
        return {f"{name}{self.suffix}": found[name] for name in self.names if name in found}
