"""A frozen image encoder with an Adaptor and a decoder: radiographs in, one logit map a class out."""

from __future__ import annotations

from torch import Tensor, nn

from bundle.networks.blocks.adaptor_decoders import AutoencoderUNet, PatchDecoder
from bundle.networks.blocks.unet import PyramidDecoder
from bundle.networks.encoders.adapted_encoder import AdaptedImage
from bundle.networks.encoders.frozen_image import FrozenImage, FrozenPyramid

__all__ = ["AutoencoderSegmenter", "PatchSegmenter", "PyramidSegmenter"]


class PatchSegmenter(AdaptedImage):
    """Adapted patches, decoded without finer maps: for vision transformers.

    The published network sends patches through self-attention whose queries and keys pre-training has never trained.
    Here each patch goes down the path that was trained.

    Args:
        image_encoder: frozen.
        adaptor: an `Adaptor` or `TokenAdaptor`; or `PooledFeatures` for none.
        decoder: of patches of the adaptor's width.
    """

    def __init__(self, image_encoder: FrozenImage, adaptor: nn.Module, decoder: PatchDecoder) -> None:
        super().__init__(image_encoder, adaptor)
        self.decoder = decoder

    def forward(self, image: Tensor) -> Tensor:
        """Segment radiographs `[B, 1, H, W]`, normalised: logits `[B, K, H, W]`, unbounded."""
        return self.decoder(self.patches(image), image.shape[-2:])


class AutoencoderSegmenter(AdaptedImage):
    """The adapted pooled vector, decoded with the frozen autoencoder's maps.

    Args:
        image_encoder: `AutoencoderTokens`.
        adaptor: an `Adaptor` or `TokenAdaptor`; or `PooledFeatures` for none.
        decoder: of vectors of the adaptor's width.
    """

    image_encoder: FrozenPyramid

    def __init__(self, image_encoder: FrozenPyramid, adaptor: nn.Module, decoder: AutoencoderUNet) -> None:
        super().__init__(image_encoder, adaptor)
        self.decoder = decoder

    def forward(self, image: Tensor) -> Tensor:
        """Segment radiographs `[B, 1, S, S]`, normalised: logits `[B, K, S, S]`, unbounded."""
        maps = self.image_encoder.maps(image)
        return self.decoder(self.adaptor.encode_image(self.image_encoder.tokens_of(maps)), maps)


class PyramidSegmenter(AdaptedImage):
    """The bundle's U-Net on frozen maps, of which the last is adapted position by position.

    Args:
        image_encoder: frozen.
        adaptor: an `Adaptor` or `TokenAdaptor`; or `PooledFeatures` for none.
        decoder: of the encoder's channels, the last one's replaced by the adaptor's width.
    """

    image_encoder: FrozenPyramid

    def __init__(self, image_encoder: FrozenPyramid, adaptor: nn.Module, decoder: PyramidDecoder) -> None:
        super().__init__(image_encoder, adaptor)
        self.decoder = decoder

    def forward(self, image: Tensor) -> Tensor:
        """Segment radiographs `[B, 1, H, W]`, normalised: logits `[B, K, H, W]`, unbounded."""
        *finer, last = self.image_encoder.maps(image)
        adapted = self.adaptor.encode_tokens(self.image_encoder.tokens_of([last]))[:, 1:]
        return self.decoder([*finer, adapted.transpose(1, 2).unflatten(2, last.shape[-2:])])
