"""Embeddings of the two modalities in one space, before they are fused."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from bundle.networks.blocks.normal_init import normal_init

__all__ = ["Alignment"]


class Alignment(nn.Module):
    """A linear map of each modality's mean token, for a contrastive loss beside those of M3AE.

    The published network has none: it starts from CLIP, whose tower has seen what words look like. One that starts from
    random weights learns from few pairs what belongs together only if it is asked for it directly.

    Reference: "align before fuse", ALBEF (arXiv 2107.07651), section 3.1.

    Args:
        width: D of the streams before fusion.
        out_features: size of the shared space.
    """

    def __init__(self, width: int = 768, out_features: int = 256) -> None:
        super().__init__()
        self.image = nn.Linear(width, out_features, bias=False)
        self.text = nn.Linear(width, out_features, bias=False)
        normal_init(self, width)

    def forward(self, images: Tensor, texts: Tensor) -> dict[str, Tensor]:
        """Embed.

        Args:
            images: mean tokens `[B, D]` of images.
            texts: mean tokens `[B, D]` of texts.

        Returns:
            `image_embedding` and `text_embedding` `[B, out_features]` of length 1, fp32.
        """
        return {
            "image_embedding": F.normalize(self.image(images).float(), dim=-1),
            "text_embedding": F.normalize(self.text(texts).float(), dim=-1),
        }
