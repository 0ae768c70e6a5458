"""Heat maps as masks: overlap with the truth at a threshold, and the threshold that is best."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .map_scores import LEVELS
from .samples import Sampled, Samples

__all__ = ["MapOverlap"]

_THRESHOLDS = 100
_FIXED = (0.1, 0.2, 0.3, 0.4, 0.5)


@dataclass(frozen=True)
class MapOverlap:
    """Pixel counts of N maps above every threshold that is a multiple of 1 / LEVELS.

    Attributes:
        common: `[N, 2 * LEVELS]` pixels of the true region above threshold k / LEVELS - 1.
        predicted: the same of all pixels.
        truth: `[N]` pixels of the true region, more than 0.
        lowest: `[N]` lowest value of each map.
        highest: `[N]` highest value of each map.
        index: `[N]` int64, number of each pair.
    """

    common: np.ndarray
    predicted: np.ndarray
    truth: np.ndarray
    lowest: np.ndarray
    highest: np.ndarray
    index: Tensor

    @classmethod
    def of(cls, inside: Tensor, outside: Tensor, lowest: Tensor, highest: Tensor, index: Tensor) -> MapOverlap:
        """Cumulate counts by level `[N, 2 * LEVELS]` of the true region and of the other pixels."""
        common, others = (counts.double().flip(1).cumsum(1).flip(1).numpy() for counts in (inside, outside))
        return cls(common, common + others, inside.double().sum(1).numpy(), lowest.numpy(), highest.numpy(), index)

    def chosen(self, rows: Tensor) -> MapOverlap:
        """Those of some rows `[N]` bool."""
        where = rows.numpy()
        return MapOverlap(
            self.common[where],
            self.predicted[where],
            self.truth[where],
            self.lowest[where],
            self.highest[where],
            self.index[rows],
        )

    def best_threshold(self) -> float:
        """The threshold with the highest mean Dice, the lowest such one.

        100 are tried, evenly between the lowest and the highest value of all maps, rounded to 1 / LEVELS.

        Reference: the sweep of MAVL, which takes the best on the test list.
        """
        ends = self.lowest.min(), self.highest.max()
        tried = np.unique([_level(value) for value in np.linspace(*ends, _THRESHOLDS + 2)[1:-1]])
        return float(tried[self._dice(tried).mean(0).argmax()] / LEVELS - 1)

    def samples(self, threshold: float) -> dict[str, Sampled]:
        """Means over maps at a threshold.

        Returns:
            `dice`, `iou`, `pixel_precision` (0 where nothing is above the threshold) and `pixel_recall`.
        """
        level = _level(threshold)
        tp, p = self.common[:, level], self.predicted[:, level]
        figures = {
            "dice": self._dice(np.array([level]))[:, 0],
            "iou": self._iou(level),
            "pixel_precision": tp / np.maximum(p, 1),
            "pixel_recall": tp / self.truth,
        }
        return {name: Samples(torch.from_numpy(values), self.index) for name, values in figures.items()}

    def mean_iou(self) -> Samples:
        """The mean of IoU at the thresholds .1, .2, .3, .4 and .5 of each map, as cosines are (BioViL, MaCo)."""
        values = np.mean([self._iou(_level(threshold)) for threshold in _FIXED], axis=0)
        return Samples(torch.from_numpy(values), self.index)

    def _dice(self, levels: np.ndarray) -> np.ndarray:
        return 2 * self.common[:, levels] / (self.truth[:, None] + self.predicted[:, levels])

    def _iou(self, level: int) -> np.ndarray:
        tp, p = self.common[:, level], self.predicted[:, level]
        return tp / (self.truth + p - tp)


def _level(threshold: float) -> int:
    """Number of the level that begins at a threshold, or at the nearest that there is."""
    return int(np.clip(round((threshold + 1) * LEVELS), 0, 2 * LEVELS - 1))
