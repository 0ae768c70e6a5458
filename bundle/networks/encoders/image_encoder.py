"""Image encoders behind one interface: a pyramid of feature maps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import timm
import torch
from monai.networks.nets import EfficientNetEncoder
from monai.networks.nets.flexible_unet import FLEXUNET_BACKBONE
from torch import nn

from bundle.networks.encoders.feature_pyramid import SimpleFeaturePyramid, StagePyramid
from bundle.networks.weights.checkpoint import load_weights
from bundle.networks.weights.errors import WeightsError

__all__ = ["ImageEncoder", "MonaiEncoder", "TimmEncoder"]

_EFFICIENTNET_HEAD = ("_conv_head", "_bn1", "_fc")  # in MONAI's EfficientNet after the last map, so without gradient


class ImageEncoder(nn.Module, ABC):
    """What decoders, pooling heads and detectors ask of an image encoder.

    Every parameter takes part in some map: DDP runs with `find_unused_parameters` off.

    Attributes:
        channels: channels of the maps, finest first.
        strides: strides of the maps in pixels, finest first (2 or 4), each twice the one before.
    """

    channels: tuple[int, ...]
    strides: tuple[int, ...]

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Encode images.

        Args:
            x: images [B, C, H, W], float, normalised; H and W are multiples of the coarsest stride.

        Returns:
            One map [B, channels[i], H / strides[i], W / strides[i]] for each stride.

        Raises:
            ValueError: if H or W is no multiple of the coarsest stride.
        """
        height, width = x.shape[-2:]
        if height % self.strides[-1] or width % self.strides[-1]:
            raise ValueError(
                f"The encoder cannot take an image of {height} x {width} px: both sides must be multiples of its "
                f"coarsest stride, {self.strides[-1]}; pad or resize it."
            )
        return self.maps(x)

    @abstractmethod
    def maps(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Compute the maps that `forward` returns, from images whose sides are known to fit."""


class TimmEncoder(ImageEncoder):
    """Any timm network that gives feature maps.

    CNNs and hierarchical transformers (ResNet, ConvNeXt, EfficientNet, Swin, ...) give their own stages; of stages with
    the same stride (a dilated network) the deepest is kept. Plain ViTs give their last map through a
    `SimpleFeaturePyramid`.

    A first convolution of pretrained weights is summed over RGB for one input channel: the response to a grey image is
    that of the original to the image repeated three times, if all three channels are normalised alike.

    Args:
        name: timm's name, such as "resnet50", "convnext_tiny", "efficientnet_b0", "vit_base_patch16_224".
        in_channels: channels of the image.
        weights: None (random), "imagenet" (timm's own, downloaded once) or the path of a local file in timm's layout,
            which for ResNet is torchvision's; its classifier is left out. A ViT file of another image size needs
            `dynamic_img_size=True`.
        output_stride: stride of the coarsest map in pixels. At 16, ResNet, ConvNeXt and EfficientNet dilate the last
            stage instead of halving the map, at 4 times its cost; `out_indices` cuts the stage off instead.
        **kwargs: passed to `timm.create_model`: `out_indices=(0, 1, 2, 3)` leaves out the last stage of a CNN;
            `channels=(32, 64, 128, 256)` narrows a ResNet; a ViT takes `img_size=256`, or `dynamic_img_size=True` for
            any size.

    Raises:
        ValueError: if timm has no network of that name, or the network does not take these options.
        WeightsError: if the weights cannot be downloaded or do not fit.

    Example:
        >>> encoder = TimmEncoder("resnet18", channels=(32, 64, 128, 256), out_indices=(0, 1, 2, 3))
        >>> encoder.channels, encoder.strides
        ((64, 32, 64, 128), (2, 4, 8, 16))
    """

    def __init__(
        self, name: str, in_channels: int = 1, weights: str | Path | None = None, output_stride: int = 32, **kwargs: Any
    ) -> None:
        super().__init__()
        if not timm.is_model(name):
            raise ValueError(f"timm has no network {name!r}; timm.list_models() gives the names.")
        kwargs["in_chans"] = in_channels
        plain = _is_plain(name)
        if output_stride != 32 and not plain:
            kwargs["output_stride"] = output_stride
        self.model = _download(name, kwargs) if weights == "imagenet" else _build(name, kwargs)
        if weights is not None and weights != "imagenet":
            _load_native(self.model, name, kwargs, weights)
        channels, strides = self.model.feature_info.channels(), self.model.feature_info.reduction()
        self.pyramid: SimpleFeaturePyramid | StagePyramid
        if plain:
            self.pyramid = SimpleFeaturePyramid(channels[-1], strides[-1], output_stride=output_stride)
        else:
            channels_last = str(getattr(self.model, "output_fmt", "NCHW")).endswith("NHWC")
            self.pyramid = StagePyramid(channels, strides, channels_last)
        self.channels, self.strides = self.pyramid.channels, self.pyramid.strides

    def maps(self, x: torch.Tensor) -> list[torch.Tensor]:
        """See `ImageEncoder.forward`."""
        return self.pyramid(self.model(x))


class MonaiEncoder(ImageEncoder):
    """Any encoder of MONAI's `FlexibleUNet`: its ResNets, EfficientNets, and those registered in `FLEXUNET_BACKBONE`.

    Args:
        name: MONAI's name, such as "resnet50" or "efficientnet-b0".
        in_channels: channels of the image.
        weights: None (random) or the path of a local file in MONAI's layout, which for resnet50 and resnet101 is
            torchvision's; a classifier `fc` is left out, the first convolution summed as in `TimmEncoder`.

    Raises:
        ValueError: if MONAI has no encoder of that name.
        WeightsError: if the weights do not fit.

    Example:
        >>> MonaiEncoder("efficientnet-b0").channels
        (16, 24, 40, 112, 320)
    """

    def __init__(self, name: str, in_channels: int = 1, weights: str | Path | None = None) -> None:
        super().__init__()
        if name not in FLEXUNET_BACKBONE.register_dict:
            raise ValueError(
                f"MONAI has no encoder {name!r}; take one of {', '.join(FLEXUNET_BACKBONE.register_dict)}."
            )
        entry = FLEXUNET_BACKBONE.register_dict[name]
        options = entry["parameter"] | {"spatial_dims": 2, "in_channels": in_channels, "pretrained": False}
        self.model = entry["type"](**options)
        if isinstance(self.model, EfficientNetEncoder):
            for part in _EFFICIENTNET_HEAD:
                delattr(self.model, part)
        if weights is not None:
            own = self.model.state_dict().keys()
            load_weights(self.model, weights, partial(_without_heads, own=own))
        self.channels = tuple(entry["feature_channel"])
        self.strides = tuple(2 ** (level + 1) for level in range(len(self.channels)))

    def maps(self, x: torch.Tensor) -> list[torch.Tensor]:
        """See `ImageEncoder.forward`."""
        return list(self.model(x))


def _without_heads(state: Mapping[str, torch.Tensor], own: Collection[str]) -> dict[str, torch.Tensor]:
    """Leave out the classifiers of torchvision's and MONAI's networks."""
    heads = ("fc.", *(f"{name}." for name in _EFFICIENTNET_HEAD))
    return {key: tensor for key, tensor in state.items() if key in own or not key.startswith(heads)}


def _build(name: str, options: Mapping[str, Any], pretrained: bool = False) -> Any:
    try:
        return timm.create_model(name, features_only=True, pretrained=pretrained, **options)
    except (AssertionError, TypeError) as error:  # an option that the network does not have, or not with this value
        given = ", ".join(f"{option}={value!r}" for option, value in options.items())
        raise ValueError(f"timm's {name} cannot be built with {given}" + f": {error}" * bool(str(error))) from error


def _is_plain(name: str) -> bool:
    """Whether every stage of a network has the same stride, as in a ViT."""
    with torch.device("meta"):
        return len(set(_build(name, {}).feature_info.reduction())) == 1


def _download(name: str, options: Mapping[str, Any]) -> Any:
    try:
        return _build(name, options, pretrained=True)
    except (OSError, RuntimeError) as error:
        raise WeightsError(
            f"ImageNet weights of {name} are not at hand ({str(error).splitlines()[0]}); go online once, or give "
            "`weights` the path of a local .safetensors or .pth file."
        ) from error


def _load_native(model: nn.Module, name: str, options: Mapping[str, Any], path: str | Path) -> None:
    """Load a file with the names of the whole timm network into its feature network.

    timm rewrites some names when it cuts a network into stages. Tensors of the head and of stages that were cut off are
    left out; any other surplus is an error.
    """
    own = model.state_dict().keys()
    whole = timm.create_model(name, **{k: v for k, v in options.items() if k != "out_indices"}).state_dict().keys()

    def native(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        renamed = {}
        for key, tensor in state.items():
            names = [key, f"model.{key}", key.replace(".", "_", 1)]
            ours = next((candidate for candidate in names if candidate in own), None)
            if ours is not None or key not in whole:
                renamed[ours or key] = tensor
        return renamed

    load_weights(model, path, native)
