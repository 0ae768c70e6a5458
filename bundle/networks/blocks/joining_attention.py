"""M3AE's co-attention where an image and a text become one vector."""

from __future__ import annotations

import torch
from torch import Tensor

from bundle.networks.blocks.co_attention import CoAttention

__all__ = ["JoiningAttention"]


class JoiningAttention(CoAttention):
    """A `CoAttention`, with its arguments and the names of its tensors, that an `Answerer` can ask for joint vectors.

    The joint vector is the published one: both final first rows, pooled, text first.

    Reference: M3AE (arXiv 2209.07098), section 2.1.

    Example:
        >>> fusion = JoiningAttention(text_width=256, image_width=192, width=192, steps=2, heads=4, mlp=768)
        >>> words, mask = torch.randn(2, 9, 256), torch.ones(2, 9)
        >>> fusion.join(torch.randn(2, 192), torch.randn(2, 192, 7, 7), words, mask).shape
        torch.Size([2, 384])
    """

    @property
    def joint_width(self) -> int:
        """Size of the joint vector, 2 D."""
        return 2 * self.width

    def join(self, pooled: Tensor, cells: Tensor, words: Tensor, attention_mask: Tensor) -> Tensor:
        """Join images and texts.

        Args:
            pooled: of the whole image, `[B, C]`: the CLS token.
            cells: of its places, `[B, C, h, w]`: the patches.
            words: `[B, L, T]`.
            attention_mask: `[B, L]`, 1 for a token, 0 for padding, which nothing reads.

        Returns:
            `[B, 2 D]`.
        """
        tokens = torch.cat([pooled[:, None], cells.flatten(2).transpose(1, 2)], 1)
        return self.pooled(self.texts(words), self.images(tokens), attention_mask == 0)
