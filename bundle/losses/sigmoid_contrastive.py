"""Image-report contrastive loss that judges every pair by itself (SigLIP)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from bundle.losses.gathered_pairs import gather_pairs

__all__ = ["SigmoidContrastiveLoss"]


class SigmoidContrastiveLoss(nn.Module):
    """Binary cross-entropy of every pair of an image and a report: do they belong together?

    Unlike InfoNCE no pair's loss depends on the other pairs. Each process judges its own images with the reports of all
    processes; since DDP averages gradients over processes, the gradient is that of one process on the joined batch.

    Args:
        gather: take negatives from all processes instead of the own batch alone.
        exclude_same: as of `ContrastiveLoss`.

    Reference: SigLIP (arXiv 2303.15343), section 3.2 and algorithm 1.
    """

    def __init__(self, gather: bool = True, exclude_same: str | None = None) -> None:
        super().__init__()
        self.gather = gather
        self.exclude_same = exclude_same

    def forward(self, prediction: dict[str, Tensor], target: dict[str, Tensor] | None = None) -> Tensor:
        """Compute the loss in fp32.

        Args:
            prediction: holds `image_embedding` and `text_embedding`, both `[B, D]` with rows of length 1, and the
                scalars `logit_scale` and `logit_bias`, which the network learns (`networks.blocks.pair_scale`).
            target: holds `[B]` integers under the name `exclude_same`; not read otherwise.

        Returns:
            Scalar: the sum over all pairs of an image, mean over the own images; `W * B` ln 2 where all logits are 0.

        Raises:
            KeyError: if the prediction or the target lacks an entry that the loss reads.
        """
        if missing := [name for name in ("logit_scale", "logit_bias") if name not in prediction]:
            raise KeyError(f"the sigmoid loss needs {' and '.join(missing)} of the network; give it a `PairScale`")
        pairs = gather_pairs(prediction, target, self.gather, self.exclude_same)
        logits = prediction["logit_scale"] * pairs.image @ pairs.all_text.T + prediction["logit_bias"]
        together = F.one_hot(pairs.positives, logits.shape[1]).to(logits.dtype)
        loss = F.binary_cross_entropy_with_logits(logits, together, reduction="none")
        if pairs.excluded is not None:
            loss = loss.masked_fill(pairs.excluded, 0.0)
        return loss.sum(1).mean()
