"""How well removed patches are painted."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from .combined_samples import RatioOfSums
from .item_metric import ItemMetric
from .samples import Sampled
from .scored_classes import refuse

__all__ = ["MaskedImageMetric"]

_ERROR, _PATCHES = 0, 1  # columns of what is kept of an image


class MaskedImageMetric(ItemMetric):
    """Mean squared error over the pixels of all removed patches of a list, each patch normalised by itself.

    Painting every patch in its mean colour (a prediction of 0) has the error 1, less where patches are of one colour.

    Reference: M3AE (arXiv 2209.07098), section 2.2; MAE (arXiv 2111.06377).

    Example:
        >>> metric = MaskedImageMetric()
        >>> patches = {"mim_prediction": torch.zeros(1, 4, 9), "mim_target": torch.ones(1, 4, 9)}
        >>> metric(patches | {"mim_mask": torch.ones(1, 4)}, {"index": torch.tensor([0])})
        >>> metric.aggregate()
        {'masked_image_error': 1.0}
    """

    def __call__(self, prediction: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> None:
        """Add a batch.

        Args:
            prediction: see `rows`.
            target: `index` `[B]` int64, number in the data set.
        """
        self.add(self.rows(prediction), target)

    @staticmethod
    def rows(prediction: Mapping[str, Tensor]) -> Tensor:
        """What is kept of images.

        Args:
            prediction: holds `mim_prediction` and `mim_target` `[B, N, P]`, and `mim_mask` `[B, N]`, 1 for a removed
                patch and 0 for one that was seen.

        Returns:
            fp32 `[B, 2]`: the sum of the mean squared errors of removed patches, and their number.
        """
        painted, target = prediction["mim_prediction"].detach().float(), prediction["mim_target"].float()
        mask = prediction["mim_mask"].float()
        return torch.stack([(mask * (painted - target).square().mean(-1)).sum(1), mask.sum(1)], 1)

    def measure(self, rows: Tensor, index: Tensor) -> dict[str, Sampled]:
        """`masked_image_error` from what is kept of images `[N, 2]`.

        Raises:
            ValueError: when an error is not a number.
        """
        refuse(rows[:, _ERROR].isnan(), index, "the prediction", "is not a number: lower the learning rate")
        kept = rows.double().numpy()
        return {"masked_image_error": RatioOfSums(kept[:, _ERROR], kept[:, _PATCHES], index)}
