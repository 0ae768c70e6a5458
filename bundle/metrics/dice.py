"""Overlap of predicted and annotated masks, under the names of the protocols that papers use.

With P, T and TP the predicted, the true and the common pixels of an image, Dice is 2 TP / (P + T); an image without
lesion (T = 0) scores 1 if nothing is predicted and 0 otherwise. How images are averaged makes figures of different
protocols incomparable, and with many images without lesion an always-empty mask scores high: each protocol therefore
stands beside the same protocol for an empty mask, and beside the mean over images with lesion alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from .class_names import metric_suffixes
from .combined_samples import RatioOfSums, over_classes
from .item_metric import ItemMetric
from .samples import Sampled, Samples

__all__ = ["SegmentationMetric", "overlap_samples", "predicted_mask"]


def predicted_mask(logits: Tensor, threshold: float = 0.5) -> Tensor:
    """Where the probability of a class is greater than the threshold.

    Args:
        logits: `[B, K, S, S]` of independent sigmoid maps.
        threshold: probability in (0, 1).

    Returns:
        `[B, K, S, S]` bool.
    """
    return logits > math.log(threshold / (1 - threshold))


class SegmentationMetric(ItemMetric):
    """Dice under the protocols of MGCA, MRM and BenchX, with empty-mask baselines, and Dice and IoU on positives.

    Only pixel counts of each image are kept. See `overlap_samples` for the names and their definitions. For one class
    the names stand alone; for several they are the unweighted mean over the classes for which they are defined, and
    each class has them with `_` and its name behind.

    Args:
        classes: names of the K classes.
        threshold: probability above which a pixel is predicted, in (0, 1).
        protocol_batch: images of a batch of `dice_mgca`, whatever batches arrive.

    Example:
        >>> metric = SegmentationMetric(["opacity"])
        >>> mask = torch.eye(4).bool()[None, None]
        >>> metric(mask * 2.0 - 1, {"label": mask, "index": torch.tensor([0])})
        >>> metric.aggregate()["dice_pos"]
        1.0
    """

    def __init__(self, classes: Sequence[str], threshold: float = 0.5, protocol_batch: int = 8) -> None:
        super().__init__()
        self.suffixes = metric_suffixes(classes)
        self.threshold = threshold
        self.protocol_batch = protocol_batch

    def __call__(self, prediction: Tensor, target: Mapping[str, Tensor]) -> None:
        """Add a batch.

        Args:
            prediction: logits `[B, K, S, S]`.
            target: `label` `[B, K, S, S]` bool; `index` `[B]` int64, number in the data set.

        Raises:
            ValueError: when the shapes are not those of K classes.
        """
        label = target["label"].bool()
        if prediction.shape != label.shape or label.shape[1] != len(self.suffixes):
            raise ValueError(
                f"a mask metric of {len(self.suffixes)} classes got logits {tuple(prediction.shape)} and masks "
                f"{tuple(label.shape)}; give the network and the masks as many channels as there are classes"
            )
        predicted = predicted_mask(prediction.detach(), self.threshold)
        masks = (predicted & label, predicted, label, prediction.isnan())
        common, p, t, broken = (mask.sum((2, 3)) for mask in masks)
        self.add(torch.stack([common, p, t, torch.full_like(t, label[0, 0].numel()), broken], -1), target)

    def measure(self, rows: Tensor, index: Tensor) -> dict[str, Sampled]:
        """Metrics by name from the counts `[N, K, 5]`.

        Raises:
            ValueError: when a prediction is not a number.
        """
        broken = rows[..., 4].sum(1) > 0
        if broken.any():
            raise ValueError(
                f"the mask predicted for item {int(index[broken][0])} of the list is not a number (and that of "
                f"{int(broken.sum()) - 1} others): look for a loss that is not finite, or lower the learning rate"
            )
        classes = [overlap_samples(counts, index, self.protocol_batch) for counts in rows[..., :4].unbind(1)]
        return over_classes(self.suffixes, classes)


def overlap_samples(counts: Tensor, index: Tensor, protocol_batch: int) -> dict[str, Sampled]:
    """All overlap metrics of one class from the pixel counts of its images.

    Args:
        counts: `[N, 4]` int64, in the order of the list: TP, P, T and all pixels of the image.
        index: `[N]` int64, number of each image in the data set.
        protocol_batch: images of a batch of protocol A.

    Returns:
        - `dice_mgca`: protocol A (GLoRIA, MGCA, G2D), mean in batches of `protocol_batch` images in the order of the
          list, then unweighted mean over batches, so images of a short last batch weigh more;
        - `dice_image`: protocol B (MRM), mean over images;
        - `mdice_fg_bg`: protocol C (BenchX), pixels pooled over the list, mean of foreground and background Dice;
        - `dice_pooled_fg`: the foreground half of C;
        - `dice_pos`: mean over images with T > 0; `iou`: the same of TP / (P + T - TP);
        - `dice_neg`: share of images with T = 0 for which nothing is predicted;
        - `dice_empty_mgca`, `dice_empty`, `mdice_fg_bg_empty`: protocols A, B, C for an always-empty mask.

        Metrics without any image or pixel to look at are undefined.
    """
    tp, p, t, size = counts.numpy().T
    positive = t > 0
    dice = np.where(positive, 2 * tp / np.maximum(p + t, 1), p == 0)
    weight = _batch_weights(len(t), protocol_batch)
    none = np.zeros_like(t)

    def mean_over(chosen: np.ndarray, values: np.ndarray) -> Samples:
        return Samples(torch.from_numpy(values[chosen].astype(np.float64)), index[torch.from_numpy(chosen)])

    every = np.ones_like(positive)
    return {
        "dice_mgca": RatioOfSums(weight * dice, weight, index),
        "dice_image": mean_over(every, dice),
        "mdice_fg_bg": _both_classes(tp, p, t, size, index),
        "dice_pooled_fg": RatioOfSums(2 * tp, p + t, index),
        "dice_pos": mean_over(positive, dice),
        "iou": mean_over(positive, tp / np.maximum(p + t - tp, 1)),
        "dice_neg": mean_over(~positive, dice),
        "dice_empty_mgca": RatioOfSums(weight * ~positive, weight, index),
        "dice_empty": mean_over(every, ~positive),
        "mdice_fg_bg_empty": _both_classes(none, none, t, size, index),
    }


def _batch_weights(count: int, batch: int) -> np.ndarray:
    """Weight of each image in an unweighted mean over batches: one over the images of its batch."""
    number = np.arange(count) // batch
    return 1 / np.bincount(number)[number]


def _both_classes(tp: np.ndarray, p: np.ndarray, t: np.ndarray, size: np.ndarray, index: Tensor) -> RatioOfSums:
    """Pooled Dice of foreground and background; a background pixel is common where neither mask has it."""
    common = np.stack([tp, size - p - t + tp], 1)
    return RatioOfSums(2 * common, np.stack([p + t, 2 * size - p - t], 1), index)
