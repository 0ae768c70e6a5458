"""The decoder that paints removed patches, and what it is compared with."""

from __future__ import annotations

from functools import partial

import torch
from monai.networks.blocks.pos_embed_utils import build_sincos_position_embedding
from timm.layers import QuickGELU
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from bundle.networks.blocks.normal_init import normal_init

__all__ = ["MaskedImageDecoder", "patch_targets"]


class MaskedImageDecoder(nn.Module):
    """Paints all patches of images from the features of those that were kept.

    Features are narrowed, a learned token stands in for each removed patch, fixed sine and cosine positions are added;
    then come pre-LN blocks, a LayerNorm and a linear map to pixels. With the published sizes, of three channels, it has
    7,689,984 parameters.

    Reference: M3AE (arXiv 2209.07098), section 2.2; MAE (arXiv 2111.06377).

    Args:
        in_features: of the tokens that come in.
        grid: rows and columns of patches of the images.
        patch_size: side of a patch in pixels.
        channels: of the images; 1, three when published.
        width: of the decoder; a multiple of 4 and of `heads`.
        depth: number of blocks.
        heads: of a block.
        mlp: width within a block.

    Raises:
        ValueError: if the width does not fit.

    Example:
        >>> MaskedImageDecoder(768, (18, 18))(torch.randn(2, 82, 768), torch.randperm(324).expand(2, -1)).shape
        torch.Size([2, 324, 256])
    """

    positions: Tensor

    def __init__(
        self,
        in_features: int,
        grid: tuple[int, int],
        patch_size: int = 16,
        channels: int = 1,
        width: int = 384,
        depth: int = 4,
        heads: int = 6,
        mlp: int = 1536,
    ) -> None:
        super().__init__()
        if width % 4 or width % heads:
            raise ValueError(f"A decoder of width {width} with {heads} heads cannot be built: 4 and heads divide it.")
        block = partial(Block, mlp_ratio=mlp / width, qkv_bias=True, act_layer=QuickGELU, norm_layer=nn.LayerNorm)
        self.narrow = nn.Linear(in_features, width)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, width))
        self.blocks = nn.Sequential(*(block(width, heads) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.paint = nn.Linear(width, patch_size**2 * channels)
        patches = build_sincos_position_embedding(list(grid), width, spatial_dims=2).detach()
        self.register_buffer("positions", torch.cat([patches[:, :1] * 0, patches], 1), persistent=False)
        normal_init(self, width)
        nn.init.normal_(self.mask_token, std=0.02)

    def forward(self, tokens: Tensor, restore: Tensor) -> Tensor:
        """Paint.

        Args:
            tokens: `[B, 1 + K, in_features]`, the pooled vector first, then the kept patches.
            restore: int64 `[B, N]`, as of `PatchMask`.

        Returns:
            `[B, N, p * p * C]`, pixels of each patch, row by row, channels last.

        Raises:
            ValueError: if the decoder was built for another number of patches.
        """
        if restore.shape[1] + 1 != self.positions.shape[1]:
            raise ValueError(
                f"The masked-image decoder was built for {self.positions.shape[1] - 1} patches and got "
                f"{restore.shape[1]}; give it the grid of the images."
            )
        narrow = self.narrow(tokens)
        missing = self.mask_token.to(narrow.dtype).expand(len(tokens), restore.shape[1] + 1 - tokens.shape[1], -1)
        patches = torch.cat([narrow[:, 1:], missing], 1)
        patches = patches.gather(1, restore[..., None].expand(-1, -1, patches.shape[-1]))
        hidden = torch.cat([narrow[:, :1], patches], 1) + self.positions
        return self.paint(self.norm(self.blocks(hidden))[:, 1:])


def patch_targets(image: Tensor, patch_size: int, eps: float = 1e-6) -> Tensor:
    """Pixels of patches, each patch normalised by itself: (x - mean) / sqrt(variance + eps), the variance unbiased.

    Args:
        image: `[B, C, H, W]`, normalised as for the encoder.
        patch_size: p, side of a patch in pixels.
        eps: keeps patches of one colour finite.

    Returns:
        fp32 `[B, N, p * p * C]`, patches row by row, pixels within them likewise, channels last.
    """
    batch, channels, height, width = image.shape
    rows, columns = height // patch_size, width // patch_size
    split = image.float().reshape(batch, channels, rows, patch_size, columns, patch_size)
    patches = split.permute(0, 2, 4, 3, 5, 1).reshape(batch, rows * columns, patch_size**2 * channels)
    variance, mean = torch.var_mean(patches, dim=-1, keepdim=True)
    return (patches - mean) / (variance + eps).sqrt()
