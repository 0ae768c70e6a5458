"""How far one gets with the most frequent class, seeing nothing."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from .item_metric import ItemMetric
from .samples import Sampled, Samples

__all__ = ["MajorityMetric"]


class MajorityMetric(ItemMetric):
    """Accuracy of calling every item by one class: the baseline `accuracy_prior`.

    Args:
        majority: number of the class, the most frequent one of the training list.

    Example:
        >>> metric = MajorityMetric(1)
        >>> metric(torch.zeros(2, 3), {"label": torch.tensor([1, 2]), "index": torch.arange(2)})
        >>> metric.aggregate()
        {'accuracy_prior': 0.5}
    """

    def __init__(self, majority: int) -> None:
        super().__init__()
        self.majority = majority

    def __call__(self, prediction: Tensor, target: Mapping[str, Tensor]) -> None:
        """Add a batch.

        Args:
            prediction: not read.
            target: `label` `[B]` int64, the number of the class; `index` `[B]` int64, number in the data set.
        """
        self.add((target["label"] == self.majority).float()[:, None], target)

    def measure(self, rows: Tensor, index: Tensor) -> dict[str, Sampled]:
        """`accuracy_prior` from rows `[N, 1]` that are 1 where the class is right."""
        return {"accuracy_prior": Samples(rows[:, 0], index)}
