"""G2D: radiograph and report aligned globally, and a decoder trained on what the alignment attends to."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bundle.networks.blocks.attention_pool import AttentionPool, IdentityAttentionPool
from bundle.networks.blocks.pair_scale import PairScale

__all__ = ["G2D"]


class G2D(nn.Module):
    """Image encoder with U-Net decoder, and text encoder, joined in a shared space.

    Reference: G2D, "From Global to Dense Radiography Representation Learning via Vision-Language Pre-training"
    (NeurIPS 2024, arXiv 2312.01522).

    Args:
        image_encoder: `[B, 1, H, W]` to a pyramid of maps, finest first.
        decoder: pyramid to logits `[B, 1, H, W]`; none for alignment alone (the paper's ablation without decoder).
        image_projection: last map `[B, C, h, w]` to `[B, D, h, w]`.
        pool: `[B, D, h, w]` to a vector `[B, D]` and its attention `[B, heads, h, w]`.
        text_encoder: tokens to `[B, T]`, or `[B, L, T]` for a projection of all tokens.
        text_projection: output of the text encoder to `[B, D]`.
        scale: learned factor and offset of the cosine similarities, for losses that read them; none where the
            temperature is fixed, as published.

    Attributes:
        decoding: whether training runs the decoder; switched off while its loss has not started yet. Evaluation always
            decodes.
    """

    def __init__(
        self,
        image_encoder: nn.Module,
        image_projection: nn.Module,
        pool: AttentionPool | IdentityAttentionPool,
        text_encoder: nn.Module,
        text_projection: nn.Module,
        decoder: nn.Module | None = None,
        scale: PairScale | None = None,
    ) -> None:
        super().__init__()
        self.image_encoder = image_encoder
        self.image_projection = image_projection
        self.pool = pool
        self.text_encoder = text_encoder
        self.text_projection = text_projection
        self.decoder = decoder
        self.scale = scale
        self.decoding = True

    def forward(
        self, image: Tensor, input_ids: Tensor, attention_mask: Tensor, lengths: list[int] | None = None
    ) -> dict[str, Tensor]:
        """Embed pairs and decode.

        Args:
            image: `[B, 1, H, W]`, normalised.
            input_ids: `[B, L]`, int64, right padded.
            attention_mask: `[B, L]`, 1 for a token and 0 for padding.
            lengths: token counts, ascending, as integers of the host; they let the text encoder skip padding.

        Returns:
            `image_embedding` and `text_embedding` `[B, D]` of length 1, fp32; `attention` `[B, heads, h, w]`;
            `patch_values` `[B, D, h, w]`, the patches in the space of the pooled vector, without gradient; `logits`
            `[B, 1, H, W]` where the decoder runs; and what `scale` gives.
        """
        output = self.encode_image(image) | {"text_embedding": self.encode_text(input_ids, attention_mask, lengths)}
        return output if self.scale is None else output | self.scale()

    def encode_image(self, image: Tensor) -> dict[str, Tensor]:
        """Embed and decode radiographs `[B, 1, H, W]`; as `forward` without `text_embedding`."""
        features = self.image_encoder(image)
        patches = self.image_projection(features[-1])
        pooled, attention = self.pool(patches)
        with torch.no_grad():
            values = self.pool.patch_values(patches)
        embedding = F.normalize(pooled.float(), dim=-1)
        output = {"image_embedding": embedding, "attention": attention, "patch_values": values}
        if self.decoder is None:
            return output
        if self.decoding or not self.training:
            return output | {"logits": self.decoder(features)}
        output["image_embedding"] = output["image_embedding"] + self._idle(features)
        return output

    def encode_text(self, input_ids: Tensor, attention_mask: Tensor, lengths: list[int] | None = None) -> Tensor:
        """Embed reports: tokens `[B, L]` to `[B, D]` of length 1, fp32."""
        hidden = self.text_encoder(input_ids, attention_mask, lengths)
        return F.normalize(self.text_projection(hidden).float(), dim=-1)

    def embed_image(self, image: Tensor) -> Tensor:
        """Embed radiographs `[B, 1, H, W]` without decoding: `[B, D]` of length 1, fp32."""
        pooled, _ = self.pool(self.image_projection(self.image_encoder(image)[-1]))
        return F.normalize(pooled.float(), dim=-1)

    def encode_patches(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Patches `[B, D, h, w]` of radiographs `[B, 1, H, W]`: as projected, and sent down the pool's value path."""
        patches = self.image_projection(self.image_encoder(image)[-1])
        return patches, self.pool.patch_values(patches)

    def _idle(self, features: list[Tensor]) -> Tensor:
        """Zero that touches all that only the decoder reads: its gradients are zero, and DDP waits for none."""
        decoder = self.decoder.parameters() if self.decoder is not None else ()
        touched = [*features, *(p for p in decoder if p.requires_grad)]
        return 0 * torch.stack([x.flatten()[0].float() for x in touched]).sum()
