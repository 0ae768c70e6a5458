"""A frozen image encoder with an Adaptor and a classification head."""

from __future__ import annotations

from torch import Tensor, nn

from bundle.networks.encoders.adapted_encoder import AdaptedImage
from bundle.networks.encoders.frozen_image import FrozenImage

__all__ = ["AdaptedClassifier"]


class AdaptedClassifier(AdaptedImage):
    """Classifies adapted images; the frozen Adaptor leaves `head` alone to be trained.

    Args:
        image_encoder: frozen.
        adaptor: an `Adaptor` or `TokenAdaptor`; or `PooledFeatures` for none.
        head: `[B, D]` to logits `[B, K]`, such as an `MlpHead`.

    Example:
        >>> adaptor = Adaptor(384, 768)
        >>> network = AdaptedClassifier(TimmTokens("vit_small_patch14_dinov2"), adaptor, MlpHead(adaptor.width, 14))
        >>> network.freeze(["image_encoder", "adaptor"])(torch.zeros(2, 1, 56, 56)).shape
        torch.Size([2, 14])
    """

    def __init__(self, image_encoder: FrozenImage, adaptor: nn.Module, head: nn.Module) -> None:
        super().__init__(image_encoder, adaptor)
        self.head = head

    def forward(self, image: Tensor) -> Tensor:
        """Classify radiographs `[B, 1, H, W]`, normalised: logits `[B, K]`, fp32."""
        return self.head(self.features(image))
