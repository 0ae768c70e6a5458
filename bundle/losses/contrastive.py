"""Image-report contrastive loss (InfoNCE), its negatives gathered from all processes with their gradients."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from bundle.losses.gathered_pairs import gather_pairs

__all__ = ["ContrastiveLoss"]


class ContrastiveLoss(nn.Module):
    """Cross-entropy of each image against all reports and of each report against all images.

    Each process scores its own rows against the rows of all processes; since DDP averages gradients over processes, the
    gradient is that of one process on the joined batch. Gathering takes place only while gradients are recorded: in
    evaluation shards may be uneven, so each process compares within its own batch.

    Args:
        temperature: fixed divisor of the cosine similarities (0.07 in the paper); None: they are multiplied with the
            `logit_scale` of the prediction, which the network learns.
        image_to_text: weight of the image-to-report direction: each image picks its report.
        text_to_image: weight of the report-to-image direction: each report picks its image. G2D's equation 1 is image
            to report only (1, 0); its released code sums both (1, 1); the mean (1/2, 1/2) is the default, the symmetric
            loss of CLIP. Adaptor's code has (1/4, 3/4).
        gather: take negatives from all processes instead of the own batch alone.
        exclude_same: name of an entry of the target, such as `study_id` or `text_id`, integers `[B]`; other pairs with
            the same number (several radiographs with one report) are no negatives.

    Reference: G2D (arXiv 2312.01522), section 3.1, equation 1; for a learned temperature CLIP (arXiv 2103.00020).
    """

    def __init__(
        self,
        temperature: float | None = 0.07,
        image_to_text: float = 0.5,
        text_to_image: float = 0.5,
        gather: bool = True,
        exclude_same: str | None = None,
    ) -> None:
        super().__init__()
        self.temperature = temperature
        self.image_to_text = image_to_text
        self.text_to_image = text_to_image
        self.gather = gather
        self.exclude_same = exclude_same

    def forward(self, prediction: dict[str, Tensor], target: dict[str, Tensor] | None = None) -> Tensor:
        """Compute the loss in fp32.

        Args:
            prediction: holds `image_embedding` and `text_embedding`, both `[B, D]` with rows of length 1; without fixed
                temperature also `logit_scale`, a positive scalar.
            target: holds `[B]` integers under the name `exclude_same`; not read otherwise.

        Returns:
            Scalar; `ln(W * B)` for each direction when all embeddings are equal.

        Raises:
            KeyError: if the prediction or the target lacks an entry that the loss was told to read.
        """
        pairs = gather_pairs(prediction, target, self.gather, self.exclude_same)
        temperature = self._temperature(prediction)
        loss = pairs.image.new_zeros(())
        for weight, rows, columns in (
            (self.image_to_text, pairs.image, pairs.all_text),
            (self.text_to_image, pairs.text, pairs.all_image),
        ):
            if weight:
                logits = rows @ columns.T / temperature
                if pairs.excluded is not None:
                    logits = logits.masked_fill(pairs.excluded, float("-inf"))
                loss = loss + weight * F.cross_entropy(logits, pairs.positives)
        return loss

    def _temperature(self, prediction: dict[str, Tensor]) -> Tensor | float:
        """Divisor of the cosine similarities."""
        if self.temperature is not None:
            return self.temperature
        if "logit_scale" not in prediction:
            raise KeyError(
                "the contrastive loss has no temperature of its own, and the network gives no `logit_scale`; give "
                "`temperature` a number"
            )
        return 1 / prediction["logit_scale"].float()
