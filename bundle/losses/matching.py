"""Image-text matching: whether an image and a text belong together."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from bundle.losses.masked_bce import MaskedBCE

__all__ = ["MatchingLoss"]


class MatchingLoss(nn.Module):
    """Binary cross-entropy of pairs and their hard negatives, both of which the network names.

    The mean is over the pairs that there are, of all processes while gradients are recorded; see `MaskedBCE`.

    Reference: ALBEF (arXiv 2107.07651), section 3.2.
    """

    def __init__(self) -> None:
        super().__init__()
        self._loss = MaskedBCE()

    def forward(self, prediction: Mapping[str, Tensor], target: Mapping[str, Tensor] | None = None) -> Tensor:
        """Compute the loss in fp32.

        Args:
            prediction: holds `matching_logits` and `matching_label` `[N]`: 1, 0, or nan where nothing is to be judged.
            target: not read.

        Returns:
            Scalar; ln 2 for logits of 0.
        """
        return self._loss(prediction["matching_logits"], {"label": prediction["matching_label"]})
