"""A text encoder that learns to name masked words."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from bundle.networks.encoders.text_encoder import TextEncoder

__all__ = ["MaskedLanguageModel"]


class MaskedLanguageModel(nn.Module):
    """Masked-language modelling of reports alone: BERT's pre-training, without images.

    Its text encoder is a start for every method (`text_source`), and its head for M3AE's.

    Reference: BERT (arXiv 1810.04805), section 3.1.

    Args:
        text_encoder: with pooling "tokens".
        language_head: maps `[B, M, D]` to logits `[B, M, V]`, such as a `MaskedLanguageHead`.

    Raises:
        ValueError: if the text encoder pools its tokens.
    """

    def __init__(self, text_encoder: TextEncoder, language_head: nn.Module) -> None:
        super().__init__()
        if text_encoder.pooling != "tokens":
            raise ValueError(
                f"Masked words are named one by one: give the text encoder pooling tokens, not {text_encoder.pooling}."
            )
        self.text_encoder = text_encoder
        self.language_head = language_head

    def forward(
        self,
        masked_ids: Tensor,
        attention_mask: Tensor,
        masked_positions: Tensor,
        masked_labels: Tensor,
        lengths: Sequence[int] | None = None,
    ) -> dict[str, Tensor]:
        """Name masked words.

        Args:
            masked_ids: int64 `[B, L]`, right padded, as of `transforms.mask_tokens`; so are the next two.
            attention_mask: `[B, L]`, 1 for a token, 0 for padding.
            masked_positions: int64 `[B, M]`.
            masked_labels: int64 `[B, M]`, -100 where a position is not to be judged.
            lengths: token counts, integers of the host.

        Returns:
            `mlm_logits` `[B, M, V]` and `mlm_labels` `[B, M]`.
        """
        words = self.text_encoder(masked_ids, attention_mask, lengths)
        rows = words.gather(1, masked_positions[..., None].expand(-1, -1, words.shape[-1]))
        return {"mlm_logits": self.language_head(rows), "mlm_labels": masked_labels}

    @torch.no_grad()
    def save_text_encoder(self, folder: str) -> None:
        """Write the encoder as a Hugging Face folder, which `text_source` of any method takes."""
        self.text_encoder.model.save_pretrained(folder)
