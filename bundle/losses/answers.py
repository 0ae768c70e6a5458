"""The loss of answers to questions."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["AnswerLoss"]


class AnswerLoss(nn.Module):
    """Binary cross-entropy of each answer of the vocabulary, summed over answers, averaged over questions.

    Published as the mean over both, times the number of answers. A question without a known answer teaches that none of
    the vocabulary is right. With several processes DDP averages gradients, so this equals the loss of the joined batch
    where every process has equally many questions.

    Reference: VQA v2's classifiers (Anderson et al., CVPR 2018), as used by M3AE (arXiv 2209.07098).

    Example:
        >>> AnswerLoss()(torch.zeros(2, 3), {"label": torch.eye(2, 3)})  # 3 ln 2
        tensor(2.0794)
    """

    def forward(self, prediction: Tensor, target: Mapping[str, Tensor]) -> Tensor:
        """Compute the loss in fp32.

        Args:
            prediction: logits `[B, K]`.
            target: holds `label` `[B, K]`: 1 for right answers, 0 for all others.

        Returns:
            Scalar; K ln 2 for logits of 0.
        """
        logits, label = prediction.float(), target["label"].float()
        return F.binary_cross_entropy_with_logits(logits, label, reduction="sum") / len(logits)
