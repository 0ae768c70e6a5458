"""Frozen image encoders of any family behind one interface: a pooled vector, then the vectors of positions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bundle.networks.encoders.autoencoder import AutoencoderEncoder
from bundle.networks.encoders.frozen_encoder import FrozenEncoder
from bundle.networks.encoders.image_encoder import ImageEncoder
from bundle.networks.weights.checkpoint import load_weights
from bundle.networks.weights.errors import WeightsError

__all__ = [
    "AutoencoderTokens",
    "FrozenImage",
    "FrozenPyramid",
    "HuggingFaceTokens",
    "PyramidTokens",
    "TimmTokens",
    "position_map",
]


class FrozenImage(FrozenEncoder, ABC):
    """What caches and Adaptors ask of an image encoder; nothing of it is trained."""

    @torch.no_grad()
    def forward(self, image: Tensor) -> Tensor:
        """Encode radiographs.

        Args:
            image: `[B, 1, H, W]`, normalised.

        Returns:
            `[B, 1 + h * w, C]`: first the pooled vector, then positions row by row.

        Raises:
            ValueError: if the encoder does not take images of this size.
        """
        return self.tokens(image)

    @abstractmethod
    def tokens(self, image: Tensor) -> Tensor:
        """Compute what `forward` returns."""


class FrozenPyramid(FrozenImage):
    """Encoders of maps: the mean over positions of the last map, in fp32, then its positions.

    Attributes:
        channels: channels of the maps, finest first.
    """

    channels: tuple[int, ...]

    def tokens(self, image: Tensor) -> Tensor:
        """See `FrozenImage.forward`."""
        return self.tokens_of(self.maps(image))

    @staticmethod
    def tokens_of(maps: Sequence[Tensor]) -> Tensor:
        """Features `[B, 1 + h * w, C]` from maps, of which the last `[B, C, h, w]` is read."""
        positions = maps[-1].flatten(2).transpose(1, 2)
        return torch.cat([positions.float().mean(1, keepdim=True).to(positions.dtype), positions], 1)

    @torch.no_grad()
    def maps(self, image: Tensor) -> list[Tensor]:
        """All maps `[B, C_i, H / s_i, W / s_i]` of radiographs `[B, 1, H, W]`, finest first."""
        return self.encoder(image)


class PyramidTokens(FrozenPyramid):
    """Any of the bundle's image encoders: ResNets, ConvNeXt, Swin, and those that pre-training has left.

    Args:
        encoder: the encoder.
        weights: `encoder.safetensors` or `model.safetensors` of a run with this encoder; None: as it is.

    Raises:
        WeightsError: if the weights do not fit.

    Example:
        >>> PyramidTokens(TimmEncoder("resnet50"))(torch.zeros(2, 1, 64, 64)).shape
        torch.Size([2, 5, 2048])
    """

    def __init__(self, encoder: ImageEncoder, weights: str | Path | None = None) -> None:
        if weights is not None:
            load_weights(encoder, weights, prefix="image_encoder.")
        super().__init__(encoder, encoder.channels[-1])
        self.channels, self.strides = encoder.channels, encoder.strides


class AutoencoderTokens(FrozenPyramid):
    """The encoding half of torchxrayvision's ResNet autoencoder, 512 x 3 x 3 at 224 px.

    It takes grey values from -1024 to 1024: normalise images in [0, 1] with mean 0.5 and standard deviation 1/2048.

    Args:
        weights: torchxrayvision's file of `101-elastic`
            (`nihpcrsnamimic_ch-resnet101-2-ae-test2-elastic-e250.pt`), whose decoder is left out; None: random.

    Raises:
        WeightsError: if the weights do not fit.
    """

    def __init__(self, weights: str | Path | None = None) -> None:
        encoder = AutoencoderEncoder(weights)
        super().__init__(encoder, encoder.channels[-1])
        self.channels = encoder.channels


class TimmTokens(FrozenImage):
    """Any plain vision transformer of timm, DINOv2's among them: normalised CLS and patch tokens, registers dropped.

    Args:
        name: timm's name, such as "vit_small_patch14_dinov2" or "vit_base_patch14_dinov2".
        weights: None (random), "imagenet" (timm's own, whatever they were trained on, downloaded once) or the path of a
            local file in timm's layout or, for DINOv2, in Meta's.
        **kwargs: passed to `timm.create_model`. Images may have any size that is a multiple of the patch size, as long
            as `dynamic_img_size=False` is not given.

    Raises:
        ValueError: if timm has no plain vision transformer of that name.
        WeightsError: if the weights cannot be downloaded or do not fit.

    Example:
        >>> TimmTokens("vit_small_patch14_dinov2")(torch.zeros(2, 1, 56, 56)).shape
        torch.Size([2, 17, 384])
    """

    def __init__(self, name: str, weights: str | Path | None = None, **kwargs: Any) -> None:
        options = {"in_chans": 1, "num_classes": 0, "dynamic_img_size": True, **kwargs}
        encoder = _timm_transformer(name, options, pretrained=weights == "imagenet")
        if weights is not None and weights != "imagenet":
            load_weights(encoder, weights, lambda state: _timm_names(state, encoder))
        super().__init__(encoder, encoder.num_features)

    def tokens(self, image: Tensor) -> Tensor:
        """See `FrozenImage.forward`."""
        _check_sides(image, self.encoder.patch_embed.patch_size)
        tokens = self.encoder.forward_features(image)
        patches = tokens[:, self.encoder.num_prefix_tokens :]
        pooled = tokens[:, :1] if self.encoder.cls_token is not None else patches.mean(1, keepdim=True)
        return torch.cat([pooled, patches], 1)


class HuggingFaceTokens(FrozenImage):
    """DINOv2 in the layout of Hugging Face, RAD-DINO among them: normalised CLS and patch tokens, registers dropped.

    The patch embedding is summed over RGB: its response to a grey image is that of the original to the image repeated
    three times.

    Args:
        source: hub name ("microsoft/rad-dino") or local folder; or values of a `transformers.Dinov2Config` to build one
            with random weights.

    Raises:
        ValueError: if there is no such config value.
        WeightsError: if `source` cannot be loaded, or weights are missing.

    Example:
        >>> tiny = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 56}
        >>> HuggingFaceTokens(tiny)(torch.zeros(2, 1, 56, 56)).shape
        torch.Size([2, 17, 32])
    """

    def __init__(self, source: str | Path | Mapping[str, Any]) -> None:
        from bundle.networks.encoders.hugging_face_vision import build_dinov2, load_dinov2

        encoder = build_dinov2(source) if isinstance(source, Mapping) else load_dinov2(str(source))
        super().__init__(encoder, encoder.config.hidden_size)

    def tokens(self, image: Tensor) -> Tensor:
        """See `FrozenImage.forward`."""
        config = self.encoder.config
        _check_sides(image, (config.patch_size, config.patch_size))
        tokens = self.encoder(pixel_values=image).last_hidden_state
        registers = getattr(config, "num_register_tokens", 0)
        return torch.cat([tokens[:, :1], tokens[:, 1 + registers :]], 1)


def position_map(tokens: Tensor, image: Tensor) -> Tensor:
    """Arrange what became of positions as they lie in the image.

    Args:
        tokens: `[B, 1 + h * w, D]`, the pooled vector first.
        image: `[B, 1, H, W]` that they were made of, on a grid of square cells.

    Returns:
        `[B, D, h, w]`.
    """
    count, (height, width) = tokens.shape[1] - 1, image.shape[-2:]
    rows = round((count * height / width) ** 0.5)
    return tokens[:, 1:].transpose(1, 2).unflatten(2, (rows, count // rows))


def _timm_transformer(name: str, options: Mapping[str, Any], pretrained: bool) -> Any:
    import timm

    if not timm.models.is_model_in_modules(name, ["vision_transformer"]):
        raise ValueError(
            f"timm has no plain vision transformer {name!r} (timm.list_models(module='vision_transformer') gives the "
            "names); take another network as PyramidTokens of a TimmEncoder."
        )
    try:
        return timm.create_model(name, pretrained=pretrained, **options)
    except (OSError, RuntimeError) as error:
        raise WeightsError(
            f"Weights of {name} are not at hand ({str(error).splitlines()[0]}); go online once, or give `weights` the "
            "path of a local .safetensors or .pth file."
        ) from error


def _timm_names(state: Mapping[str, Tensor], encoder: Any) -> dict[str, Tensor]:
    """Names and position embeddings of a file as the network has them, without the file's classifier."""
    from timm.models.vision_transformer import checkpoint_filter_fn

    named = checkpoint_filter_fn(dict(state), encoder)
    return {key: tensor for key, tensor in named.items() if not key.startswith("head.")}


def _check_sides(image: Tensor, patch: tuple[int, int]) -> None:
    height, width = image.shape[-2:]
    if height % patch[0] or width % patch[1]:
        raise ValueError(
            f"The encoder cannot take an image of {height} x {width} px: its sides must be multiples of the patch's, "
            f"{patch[0]} x {patch[1]}; crop or resize it."
        )
