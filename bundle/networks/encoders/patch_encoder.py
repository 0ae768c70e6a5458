"""What M3AE asks of an image encoder: tokens of patches, of all of them or of those that masking has kept."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from bundle.networks.blocks.patch_masking import PatchMask

__all__ = ["PatchEncoder"]


class PatchEncoder(nn.Module, ABC):
    """An encoder of images to a pooled token and one token a patch, in two steps: `embed`, then `encode`.

    Attributes:
        width: D of the tokens.
        patch_size: side of a patch in pixels.
        grid: rows and columns of patches for images of the size it was built for.
    """

    width: int
    patch_size: int
    grid: tuple[int, int]

    def forward(self, image: Tensor) -> Tensor:
        """Encode images.

        Args:
            image: `[B, C, H, W]`, normalised; H and W are multiples of the patch's side.

        Returns:
            `[B, 1 + N, D]`, the pooled token first, then patches row by row.

        Raises:
            ValueError: if H or W is no multiple.
        """
        return self.encode(self.embed(image))

    @abstractmethod
    def embed(self, image: Tensor) -> Tensor:
        """Tokens `[B, 1 + N, D]` before the blocks, with their positions; argument and errors as of `forward`."""

    @abstractmethod
    def encode(self, tokens: Tensor) -> Tensor:
        """The blocks over tokens of `embed`, all or some of them: `[B, T, D]` to the same."""

    def encode_kept(self, image: Tensor, embedded: Tensor, mask: PatchMask) -> Tensor:
        """Encode an image of which only some patches may be seen.

        Args:
            image: `[B, C, H, W]`, as for `forward`.
            embedded: the whole image's tokens `[B, 1 + N, D]`, as of `embed`.
            mask: which patches are kept.

        Returns:
            `[B, 1 + K, D]`: the pooled token, then the K kept patches in the order of the mask.
        """
        return self.encode(mask.select(embedded))
