"""A frozen image encoder with an Adaptor on it, as the stages after pre-training use it."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from bundle.networks.encoders.frozen_image import FrozenImage, position_map
from bundle.networks.weights.freezing import FreezableNetwork

__all__ = ["AdaptedImage", "PooledFeatures"]


class AdaptedImage(FreezableNetwork):
    """The image branch of a `FrozenPair`, whose tensors bear the same names: `image_encoder.*`, `adaptor.*`.

    Args:
        image_encoder: frozen.
        adaptor: an `Adaptor` or `TokenAdaptor`; or `PooledFeatures` for none.

    Example:
        >>> network = AdaptedImage(TimmTokens("vit_small_patch14_dinov2"), Adaptor(384, 768))
        >>> network.features(torch.zeros(2, 1, 56, 56)).shape
        torch.Size([2, 768])
    """

    def __init__(self, image_encoder: FrozenImage, adaptor: nn.Module) -> None:
        super().__init__()
        self.image_encoder = image_encoder
        self.adaptor: Any = adaptor

    def features(self, image: Tensor) -> Tensor:
        """Embed radiographs `[B, 1, H, W]`, normalised: `[B, D]`, fp32; each alone, whatever batch it is in."""
        return self.adaptor.encode_image(self.image_encoder(image))

    def patches(self, image: Tensor) -> Tensor:
        """Adapted positions `[B, D, h, w]`, fp32, of radiographs `[B, 1, H, W]`."""
        return position_map(self.adaptor.encode_tokens(self.image_encoder(image)), image)


class PooledFeatures(nn.Module):
    """No Adaptor: the frozen encoder's features as they are. The baseline that shows what an Adaptor adds.

    Args:
        image_width: C of the features.

    Attributes:
        width: the same.
    """

    def __init__(self, image_width: int) -> None:
        super().__init__()
        self.width = image_width

    def encode_image(self, features: Tensor) -> Tensor:
        """The pooled vectors `[B, C]`, fp32, of features `[B, T, C]`."""
        return features[:, 0].float()

    def encode_tokens(self, features: Tensor) -> Tensor:
        """Features `[B, T, C]` in fp32."""
        return features.float()
