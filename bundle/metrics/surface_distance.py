"""How far the outline of a predicted mask lies from the annotated one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from monai.metrics import compute_hausdorff_distance
from torch import Tensor

from .class_names import metric_suffixes
from .combined_samples import over_classes
from .dice import predicted_mask
from .item_metric import ItemMetric
from .samples import Sampled, Samples

__all__ = ["SurfaceDistanceMetric"]


class SurfaceDistanceMetric(ItemMetric):
    """95 % Hausdorff distance between outlines, over images where both masks have one.

    The greater of the 95th percentiles of the distances from either outline to the other, as
    `monai.metrics.compute_hausdorff_distance` has it; the outline is the outermost pixels of a mask. For several
    classes a name is the mean over the classes for which it is defined, and each class has it with `_` and its name
    behind.

    Args:
        classes: names of the K classes.
        threshold: probability above which a pixel is predicted, in (0, 1).
    """

    def __init__(self, classes: Sequence[str], threshold: float = 0.5) -> None:
        super().__init__()
        self.suffixes = metric_suffixes(classes)
        self.threshold = threshold

    def __call__(self, prediction: Tensor, target: Mapping[str, Tensor]) -> None:
        """Add a batch.

        Args:
            prediction: logits `[B, K, S, S]`.
            target: `label` `[B, K, S, S]` bool; `spacing` `[B, 2]` mm of a pixel (row, column), nan or not there where
                it is unknown; `index` `[B]` int64, number in the data set.
        """
        # On the host also where the network is not: outlines are found there, and other devices round otherwise.
        predicted, label = predicted_mask(prediction.detach(), self.threshold).cpu(), target["label"].bool().cpu()
        found, true = (mask.flatten(2).any(-1) for mask in (predicted, label))
        spacing = target.get("spacing", torch.full((len(label), 2), torch.nan)).float().cpu()
        known = (spacing.isfinite() & (spacing > 0)).all(1, keepdim=True)
        distance = _distances(predicted, label, found & true, torch.where(known, spacing, 1.0))
        flags = [flag.float() for flag in (known.expand_as(found), found, true)]
        self.add(torch.stack([distance, *flags], -1).to(prediction.device), target)

    def measure(self, rows: Tensor, index: Tensor) -> dict[str, Sampled]:
        """Metrics by name from `[N, K, 4]`: distance, and whether there is a spacing, a predicted and a true pixel.

        Returns:
            - `hd95_mm`: mean over images with both masks whose spacing is known;
            - `hd95_px`: the same in pixels of the network's image, over images whose spacing is unknown;
            - `hd95_missed`: share of the images with a true pixel that have no predicted one, thus no distance.
        """
        return over_classes(self.suffixes, [_class_samples(columns, index) for columns in rows.double().unbind(1)])


def _class_samples(columns: Tensor, index: Tensor) -> dict[str, Sampled]:
    distance = columns[:, 0]
    has_spacing, predicted, true = columns[:, 1:].bool().unbind(1)
    both = predicted & true
    return {
        "hd95_mm": Samples(distance[both & has_spacing], index[both & has_spacing]),
        "hd95_px": Samples(distance[both & ~has_spacing], index[both & ~has_spacing]),
        "hd95_missed": Samples((~predicted[true]).double(), index[true]),
    }


def _distances(predicted: Tensor, label: Tensor, wanted: Tensor, spacing: Tensor) -> Tensor:
    """Distance `[B, K]` of each image and class; nan where it is not wanted (`[B, K]` bool)."""
    result = torch.full(wanted.shape, torch.nan)
    images, classes = wanted.nonzero(as_tuple=True)
    if len(images):
        first, second = (mask[images, classes][:, None].float() for mask in (predicted, label))
        distance = compute_hausdorff_distance(
            first, second, include_background=True, percentile=95, spacing=spacing[images].tolist()
        )
        result[images, classes] = distance[:, 0]
    return result
