"""The figures of masked and matching pre-training together, and the one by which its networks are chosen."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from .item_metric import ItemMetric
from .masked_image import MaskedImageMetric
from .masked_words import MaskedWordMetric
from .matching import MatchingMetric
from .samples import Sampled

__all__ = ["PretrainingMetric"]

_SIGNS = {"masked_word_accuracy": 1, "matching_accuracy": 1, "masked_image_error": -1}
_COLUMNS = (3, 2, 2)  # kept of words, of matching and of the image


class PretrainingMetric(ItemMetric):
    """What `MaskedWordMetric`, `MatchingMetric` and `MaskedImageMetric` measure, and `pretraining_score`.

    The score is the accuracy of masked words, plus the accuracy of matching, minus the error of removed patches, as
    published; without masked words or removed patches (the paper's ablations) it has fewer terms.

    Reference: M3AE (arXiv 2209.07098) and its published configuration.

    Example:
        >>> key_val_metric = {"pretraining_score": NamedMetrics(PretrainingMetric())}
    """

    def __init__(self) -> None:
        super().__init__()
        self._words, self._matching, self._image = MaskedWordMetric(), MatchingMetric(), MaskedImageMetric()

    def __call__(self, prediction: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> None:
        """Add a batch.

        Args:
            prediction: what the three metrics read of it; that of words or of patches may be absent.
            target: `index` `[B]` int64, number in the data set.
        """
        matching = self._matching.rows(prediction)
        none = matching.new_zeros(len(matching), max(_COLUMNS))  # a report without words, an image without patches
        words = self._words.rows(prediction) if "mlm_logits" in prediction else none[:, : _COLUMNS[0]]
        image = self._image.rows(prediction) if "mim_prediction" in prediction else none[:, : _COLUMNS[2]]
        self.add(torch.cat([words, matching, image], 1), target)

    def measure(self, rows: Tensor, index: Tensor) -> dict[str, Sampled]:
        """The metrics of the three by name, from what they keep of pairs, `[N, 7]`.

        Raises:
            ValueError: as those of the three.
        """
        words, matching, image = rows.split(_COLUMNS, 1)
        measured = self._words.measure(words, index) | self._matching.measure(matching, index)
        return measured | self._image.measure(image, index)

    def aggregate(self) -> dict[str, float]:
        """Compute the metrics of the three, and `pretraining_score`, which has no samples.

        Raises:
            ValueError: when nothing was added, or a prediction is not a number.
        """
        result = super().aggregate()
        terms = [sign * result[name] for name, sign in _SIGNS.items() if name in result]
        return result | ({"pretraining_score": sum(terms)} if terms else {})
