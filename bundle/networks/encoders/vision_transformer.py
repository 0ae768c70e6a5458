"""A vision transformer in CLIP's layout that can encode some patches of an image alone."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import cast

import torch
from timm.layers import QuickGELU, resample_abs_pos_embed
from timm.models.vision_transformer import VisionTransformer as TimmTransformer
from timm.models.vision_transformer import checkpoint_filter_fn
from torch import Tensor, nn

from bundle.networks.encoders.patch_encoder import PatchEncoder
from bundle.networks.weights.checkpoint import load_weights

__all__ = ["VisionTransformer"]

_BLOCK = re.compile(r"blocks\.(\d+)\.")


class VisionTransformer(PatchEncoder):
    """CLIP's image tower without its projection: LayerNorm before the blocks, QuickGELU, patches without bias.

    The last LayerNorm is over all tokens. The published encoder is CLIP's ViT-B/16 without its twelfth block: with
    three channels and images of 288 px it has 78,809,856 parameters.

    Positions are learned for images of `image_size` and interpolated for others (bicubic, not antialiased, the CLS row
    left alone), so that one file of weights serves all sizes.

    Reference: M3AE (arXiv 2209.07098), section 2.1; CLIP (arXiv 2103.00020).

    Args:
        image_size: side in pixels of the images for whose grid positions are learned.
        patch_size: side of a patch in pixels; divides `image_size`.
        in_channels: of the image; 1, three when published.
        width: D of the tokens.
        depth: number of blocks.
        heads: of a block; they divide `width`.
        mlp: width within a block.
        weights: None (random) or the path of a local file in the layout of timm or of OpenAI's CLIP; its head,
            projection and surplus blocks are left out, its positions interpolated, and patches summed over colours.

    Attributes:
        width: D of the tokens.
        patch_size: side of a patch in pixels.
        grid: rows and columns of patches for `image_size`.

    Raises:
        ValueError: if the sizes do not fit together.
        WeightsError: if the weights do not fit.

    Example:
        >>> encoder = VisionTransformer(image_size=64, width=192, depth=2, heads=3, mlp=768)
        >>> encoder(torch.zeros(2, 1, 96, 96)).shape
        torch.Size([2, 37, 192])
    """

    def __init__(
        self,
        image_size: int = 288,
        patch_size: int = 16,
        in_channels: int = 1,
        width: int = 768,
        depth: int = 11,
        heads: int = 12,
        mlp: int = 3072,
        weights: str | Path | None = None,
    ) -> None:
        super().__init__()
        if image_size % patch_size or width % heads:
            raise ValueError(
                f"A vision transformer for {image_size} px with patches of {patch_size} px, width {width} and {heads} "
                "heads cannot be built: patches divide the image, heads the width."
            )
        self.model = TimmTransformer(
            img_size=image_size,
            patch_size=patch_size,
            in_chans=in_channels,
            num_classes=0,
            global_pool="",
            embed_dim=width,
            depth=depth,
            num_heads=heads,
            mlp_ratio=mlp / width,
            pre_norm=True,
            norm_layer=partial(nn.LayerNorm, eps=1e-5),
            act_layer=QuickGELU,
            dynamic_img_size=True,
        )
        self.width, self.patch_size = width, patch_size
        self.grid = (image_size // patch_size, image_size // patch_size)
        if weights is not None:
            load_weights(self.model, weights, partial(_own_names, model=self.model))

    def embed(self, image: Tensor) -> Tensor:
        """See `PatchEncoder.embed`."""
        height, width = image.shape[-2:]
        if height % self.patch_size or width % self.patch_size:
            raise ValueError(
                f"The encoder cannot take an image of {height} x {width} px: both sides must be multiples of its "
                f"patches' {self.patch_size}; pad or resize it."
            )
        patches = self.model.patch_embed(image).flatten(1, 2)  # timm keeps the grid of images of any size
        pooled = cast(Tensor, self.model.cls_token).to(patches.dtype)
        tokens = torch.cat([pooled.expand(len(patches), -1, -1), patches], 1)
        return tokens + self._positions(height // self.patch_size, width // self.patch_size)

    def encode(self, tokens: Tensor) -> Tensor:
        """See `PatchEncoder.encode`: blocks and the last LayerNorm."""
        return self.model.norm(self.model.blocks(self.model.norm_pre(tokens)))

    def _positions(self, rows: int, columns: int) -> Tensor:
        """Learned positions `[1, 1 + rows * columns, D]`, interpolated where the grid is another."""
        learned = cast(Tensor, self.model.pos_embed)
        if (rows, columns) == self.grid:
            return learned
        return resample_abs_pos_embed(learned, [rows, columns], list(self.grid), antialias=False, verbose=False)


def _own_names(state: Mapping[str, Tensor], model: TimmTransformer) -> dict[str, Tensor]:
    """Tensors of a file by timm's names, positions on the model's grid, without what the model lacks."""
    named = checkpoint_filter_fn(dict(state), model, antialias=False)
    return {name: tensor for name, tensor in named.items() if not _surplus(name, len(model.blocks))}


def _surplus(name: str, depth: int) -> bool:
    block = _BLOCK.match(name)
    return name.startswith("head.") or (block is not None and int(block[1]) >= depth)
