"""Transformer blocks on the tokens of a frozen image encoder of any family."""

from __future__ import annotations

from functools import partial

import torch
from timm.layers import build_sincos2d_pos_embed
from timm.models.vision_transformer import Block
from torch import Tensor, nn
from torch.nn import functional as F

from bundle.networks.blocks.normal_init import normal_init
from bundle.networks.blocks.patch_masking import PatchMask
from bundle.networks.encoders.frozen_image import FrozenImage
from bundle.networks.encoders.patch_encoder import PatchEncoder

__all__ = ["StackedTransformer"]


class StackedTransformer(PatchEncoder):
    """A frozen encoder, and trained on its tokens: LayerNorm, projection, positions, pre-LN blocks and a LayerNorm.

    M3AE on networks that were trained elsewhere, convolutions among them: a ResNet of a G2D run, DINOv2, RAD-DINO. An
    image whose patches are masked is encoded anew with these patches at the normalised image's mean, 0: what the
    encoder's receptive fields know of their neighbours would otherwise give them away.

    Args:
        frozen: gives a pooled vector and positions on a square grid.
        image_size: side in pixels of the images.
        patch_size: side in pixels of what a position stands for: the stride of the encoder's last map, or its patch.
        width: D of the tokens.
        depth: number of blocks.
        heads: of a block; they divide `width`, as 4 does.
        mlp: width within a block.

    Raises:
        ValueError: if the sizes do not fit together.

    Example:
        >>> encoder = StackedTransformer(PyramidTokens(TimmEncoder("resnet18")), 64, 32, width=96, heads=3, mlp=192)
        >>> encoder(torch.zeros(2, 1, 64, 64)).shape
        torch.Size([2, 5, 96])
    """

    def __init__(
        self,
        frozen: FrozenImage,
        image_size: int,
        patch_size: int,
        width: int = 768,
        depth: int = 2,
        heads: int = 12,
        mlp: int = 3072,
    ) -> None:
        super().__init__()
        if image_size % patch_size or width % heads or width % 4:
            raise ValueError(
                f"A transformer for {image_size} px with patches of {patch_size} px, width {width} and {heads} heads "
                "cannot be built: patches divide the image, heads the width, and so does 4."
            )
        rows = image_size // patch_size
        block = partial(Block, mlp_ratio=mlp / width, qkv_bias=True, norm_layer=nn.LayerNorm)
        self.frozen = frozen
        self.width, self.patch_size, self.grid = width, patch_size, (rows, rows)
        self.project = nn.Sequential(nn.LayerNorm(frozen.width), nn.Linear(frozen.width, width))
        # Begins with waves, as large as the tokens: what begins near nothing takes long to tell left from right.
        waves = build_sincos2d_pos_embed([rows, rows], dim=width)
        self.positions = nn.Parameter(torch.cat([torch.zeros(1, width), waves])[None])
        self.blocks = nn.Sequential(*(block(width, heads) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        normal_init(self.project, frozen.width)
        normal_init(self.blocks, width)

    def embed(self, image: Tensor) -> Tensor:
        """See `PatchEncoder.embed`.

        Raises:
            ValueError: if the frozen encoder gives another grid than the one it was built for.
        """
        tokens = self.frozen(image)
        if tokens.shape[1] != self.positions.shape[1]:
            raise ValueError(
                f"The frozen encoder gives {tokens.shape[1] - 1} positions for an image of {image.shape[-1]} px, and "
                f"{self.positions.shape[1] - 1} were expected: give image_size and patch_size that fit it."
            )
        return self.project(tokens) + self.positions

    def encode(self, tokens: Tensor) -> Tensor:
        """See `PatchEncoder.encode`."""
        return self.norm(self.blocks(tokens))

    def encode_kept(self, image: Tensor, embedded: Tensor, mask: PatchMask) -> Tensor:
        """See `PatchEncoder.encode_kept`; the whole image's tokens are not read."""
        kept = (1 - mask.removed).unflatten(1, self.grid)[:, None]
        seen = image * F.interpolate(kept, scale_factor=self.patch_size, mode="nearest").to(image.dtype)
        return self.encode(mask.select(self.embed(seen)))
