"""Average precision of boxes as COCO computes it, for any multiplicities of the images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from .resample_blocks import in_blocks
from .samples import ratio

__all__ = ["BoxPrecision"]

_RECALLS = np.linspace(0, 1, 101)


@dataclass(frozen=True)
class BoxPrecision:
    """Mean over IoU thresholds of the average precision of one class, interpolated at 101 recalls.

    At each recall counts the highest precision at that recall or a higher one. Undefined without true boxes; 0 with
    true boxes and no predicted one. MONAI's `COCOMetric` is this in float32, where recalls such as 7/10 fall below
    their threshold, and has no multiplicities.

    Reference: Lin et al., "Microsoft COCO: Common Objects in Context" (arXiv 1405.0312) and `pycocotools`.

    Attributes:
        image: `[D]` int64, row of the image of each predicted box, by falling score.
        passed: `[D, T]` bool, whether the box is matched at each of T thresholds.
        truths: `[N]` int64, true boxes of each image.
        index: `[N]` int64, number of each image in its data set.

    Example:
        >>> one_of_two = BoxPrecision(np.array([0]), np.array([[True]]), np.array([2]), torch.tensor([0]))
        >>> one_of_two.resampled(np.array([[1]]))  # precision 1 at the recalls 0, .01, ..., .5
        array([0.5049505])
    """

    image: np.ndarray
    passed: np.ndarray
    truths: np.ndarray
    index: Tensor

    def resampled(self, weights: np.ndarray) -> np.ndarray:
        """The metric of each resample: weights `[R, N]` to values `[R]`."""
        return in_blocks(self._block, weights, len(self.image))

    def _block(self, weights: np.ndarray) -> np.ndarray:
        drawn = weights[:, self.image]
        boxes = drawn.cumsum(1)
        truths = weights @ self.truths
        at_thresholds = [_average(drawn[:, hits], boxes[:, hits], truths) for hits in self._hits()]
        return np.where(truths > 0, np.mean(at_thresholds, 0), np.nan)

    def _hits(self) -> list[np.ndarray]:
        """Where the matched boxes of each threshold stand among all. Precision rises at them alone."""
        return [np.flatnonzero(passed) for passed in self.passed.T]


def _average(drawn: np.ndarray, boxes: np.ndarray, truths: np.ndarray) -> np.ndarray:
    """Average precision of each resample `[R]` at one threshold.

    Args:
        drawn: `[R, P]` how often each matched box is there, by falling score.
        boxes: `[R, P]` how many boxes, matched or not, stand up to there.
        truths: `[R]` true boxes.
    """
    found = drawn.cumsum(1)
    precision = found / np.maximum(boxes, 1)
    highest = np.maximum.accumulate(precision[:, ::-1], 1)[:, ::-1]
    recall = ratio(found, truths[:, None])
    reached = np.searchsorted(_RECALLS, recall, side="right")
    return (highest * np.diff(reached, axis=1, prepend=0)).sum(1) / len(_RECALLS)
