"""How the tensor names of public weight files become ours.

A key map is a function from a file's state dict to one with our names. Names that have no place in our networks (heads
of classifiers, projections of other methods) are left out, so that a strict load still finds every difference that
matters. All maps end at `image_encoder.TimmEncoder`, whose network lies under `model.`, and `unet.PyramidDecoder`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

import torch

from bundle.networks.weights.errors import WeightsError

__all__ = ["KEY_MAPS", "KeyMap", "mgca", "rename", "resnet", "smp_unet"]

State: TypeAlias = Mapping[str, torch.Tensor]
KeyMap: TypeAlias = Callable[[State], dict[str, torch.Tensor]]

_BLOCK_LAYERS = {"conv1.0.": "conv_0.conv.", "conv1.1.": "conv_0.adn.N."}
_BLOCK_LAYERS |= {"conv2.0.": "conv_1.conv.", "conv2.1.": "conv_1.adn.N."}


def rename(state: State, prefixes: Mapping[str, str]) -> dict[str, torch.Tensor]:
    """Replace prefixes of names and leave out names under none of them.

    Args:
        state: tensors by name.
        prefixes: old prefix to new; the first that fits a name counts.

    Returns:
        The renamed tensors.

    Example:
        >>> rename({"net.w": w, "head.w": v}, {"net.": ""}).keys()
        dict_keys(['w'])
    """
    renamed = {}
    for name, tensor in state.items():
        for old, new in prefixes.items():
            if name.startswith(old):
                renamed[new + name.removeprefix(old)] = tensor
                break
    return renamed


def resnet(state: State) -> dict[str, torch.Tensor]:
    """A ResNet as torchvision, timm and segmentation_models_pytorch name it, G2D's `*_encoder.pth` included.

    Args:
        state: tensors such as `conv1.weight`, `layer1.0.conv1.weight`, with or without the classifier `fc`.

    Returns:
        Tensors of a `TimmEncoder` over the same ResNet.
    """
    return {f"model.{name}": tensor for name, tensor in state.items() if not name.startswith("fc.")}


def mgca(state: State) -> dict[str, torch.Tensor]:
    """The image encoder of an MGCA checkpoint on ResNet: what lies under `img_encoder_q.model.`.

    Args:
        state: tensors of the whole checkpoint.

    Returns:
        Tensors of a `TimmEncoder("resnet50")`.
    """
    return resnet(rename(state, {"img_encoder_q.model.": ""}))


def smp_unet(state: State, encoder: str = "image_encoder", decoder: str = "decoder") -> dict[str, torch.Tensor]:
    """A U-Net of segmentation_models_pytorch on a ResNet, G2D's `*_encoder_decoder.pth` included.

    Args:
        state: tensors `encoder.*`, `decoder.blocks.*`, `segmentation_head.0.*`.
        encoder: attribute that holds the `TimmEncoder` in our network.
        decoder: attribute that holds the `PyramidDecoder` in our network.

    Returns:
        Tensors of a network with these two attributes.

    Raises:
        WeightsError: if the state is no such U-Net.

    Example:
        >>> load_weights(segmenter, path, key_map=functools.partial(smp_unet, encoder="backbone"))
    """
    if "encoder.layer4.0.downsample.0.weight" not in state:
        raise WeightsError("The file is no segmentation_models_pytorch U-Net on a ResNet; choose another key map.")
    ours = {f"{encoder}.{name}": tensor for name, tensor in resnet(rename(state, {"encoder.": ""})).items()}
    ours |= rename(state, {"segmentation_head.0.": f"{decoder}.head."})
    arriving = state["encoder.layer4.0.downsample.0.weight"].shape[0]
    for index in range(sum(name.endswith("conv1.0.weight") for name in state if name.startswith("decoder."))):
        block = rename(state, {f"decoder.blocks.{index}.": ""})
        # They concatenate [upsampled, skip], MONAI's block [skip, upsampled].
        block["conv1.0.weight"] = block["conv1.0.weight"].roll(-arriving, dims=1)
        arriving = block["conv2.0.weight"].shape[0]
        ours |= rename(rename(block, _BLOCK_LAYERS), {"": f"{decoder}.decoder.blocks.{index}.convs."})
    return ours


KEY_MAPS: dict[str, KeyMap] = {"resnet": resnet, "mgca": mgca, "smp_unet": smp_unet}
"""Key maps by the name that configs use."""
