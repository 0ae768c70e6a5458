"""How the tensor names of public weight files become ours.

A key map is a function from a file's state dict to one with our names. Names that have no place in our networks (heads
of classifiers, projections of other methods) are left out, so that a strict load still finds every difference that
matters. Maps of convolutional networks end at `image_encoder.TimmEncoder`, whose network lies under `model.`, and
`unet.PyramidDecoder`; that of M3AE ends at `nets.m3ae.M3AE`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

import torch

from bundle.networks.weights.errors import WeightsError

__all__ = ["KEY_MAPS", "KeyMap", "m3ae", "mgca", "rename", "resnet", "smp_unet"]

State: TypeAlias = Mapping[str, torch.Tensor]
KeyMap: TypeAlias = Callable[[State], dict[str, torch.Tensor]]

_BLOCK_LAYERS = {"conv1.0.": "conv_0.conv.", "conv1.1.": "conv_0.adn.N."}
_BLOCK_LAYERS |= {"conv2.0.": "conv_1.conv.", "conv2.1.": "conv_1.adn.N."}

_M3AE_PARTS = {
    "language_encoder.embeddings.": "text_encoder.model.embeddings.",
    "language_encoder.encoder.": "text_encoder.model.encoder.",
    "multi_modal_language_proj.": "fusion.text_projection.",
    "multi_modal_vision_proj.": "fusion.image_projection.",
    "modality_type_embeddings.": "fusion.modality.",
    "multi_modal_language_pooler.dense.": "fusion.text_pooler.0.",
    "multi_modal_vision_pooler.dense.": "fusion.image_pooler.0.",
    "mlm_head.transform.dense.": "language_head.0.",
    "mlm_head.transform.LayerNorm.": "language_head.2.",
    "mlm_head.decoder.": "language_head.3.",
    "mlm_head.bias": "language_head.3.bias",
    "itm_head.fc.": "matching_head.",
}
_M3AE_STREAMS = {
    "multi_modal_language_layers.": "fusion.text_layers.",
    "multi_modal_vision_layers.": "fusion.image_layers.",
}
_BERT_BUFFERS = ("position_ids", "token_type_ids")  # counted, not learned; in files of old transformers versions
_BERT_LAYER = {  # the first part that a name holds counts
    "crossattention.self.": "cross_attention.",
    "crossattention.output.dense.": "cross_attention.out_proj.",
    "crossattention.output.LayerNorm.": "cross_norm.",
    "attention.self.": "self_attention.",
    "attention.output.dense.": "self_attention.out_proj.",
    "attention.output.LayerNorm.": "self_norm.",
    "intermediate.dense.": "feedforward.0.",
    "output.dense.": "feedforward.2.",
    "output.LayerNorm.": "feedforward_norm.",
}
_CLIP_TOWER = {
    "class_embedding": "cls_token",
    "positional_embedding": "pos_embed",
    "conv1.": "patch_embed.proj.",
    "ln_pre.": "norm_pre.",
    "ln_post.": "norm.",
    "transformer.resblocks.": "blocks.",
}
_CLIP_BLOCK = {
    "attn.in_proj_": "attn.qkv.",
    "attn.out_proj.": "attn.proj.",
    "ln_1.": "norm1.",
    "ln_2.": "norm2.",
    "mlp.c_fc.": "mlp.fc1.",
    "mlp.c_proj.": "mlp.fc2.",
}


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


def m3ae(state: State) -> dict[str, torch.Tensor]:
    """An M3AE checkpoint of the published layout: encoders, fusion, language head and matching head.

    The layout is that of METER: an image tower by OpenAI's names for CLIP under `vision_encoder.visual.`, a RoBERTa by
    those of transformers under `language_encoder.`, fusion layers by those of transformers' BERT, with cross-attention.
    The map is tested on networks of these libraries and on networks of ours under these names. No published checkpoint
    was at hand. What the masked-image decoder's tensors are called is not documented, so it is left out; so are
    RoBERTa's pooler, what CLIP has beside its image tower, and heads of tasks.

    The network must have the file's sizes: `image_size` of the `VisionTransformer` is that of the file (288 px after
    pre-training), and its positions are then interpolated for images of other sizes; the text encoder is a RoBERTa. A
    network of one channel gets the sum of the patch weights over colours: grey images, normalised with the mean over
    colours of CLIP's means and standard deviations, .449 and .269, are encoded nearly as three equal channels were,
    which differ a little after CLIP's own normalisation of each.

    Args:
        state: tensors of the whole checkpoint.

    Returns:
        Tensors of an `M3AE` without its masked-image decoder.

    Raises:
        WeightsError: if the state is no such checkpoint.

    Example:
        >>> transfer(network, "m3ae.ckpt", ["image_encoder", "text_encoder", "fusion"], key_map="m3ae")
    """
    if not {"multi_modal_language_proj.weight", "vision_encoder.visual.class_embedding"} <= state.keys():
        raise WeightsError("The file is no M3AE checkpoint of the published layout; choose another key map.")
    ours = {name: x for name, x in rename(state, _M3AE_PARTS).items() if not name.endswith(_BERT_BUFFERS)}
    ours |= _co_attention(rename(state, _M3AE_STREAMS))
    return ours | rename(_image_tower(rename(state, {"vision_encoder.visual.": ""})), {"": "image_encoder.model."})


def _image_tower(state: State) -> dict[str, torch.Tensor]:
    """CLIP's image tower by OpenAI's names, without its projection, by those of timm."""
    named = {_replaced(name, _CLIP_BLOCK): tensor for name, tensor in rename(state, _CLIP_TOWER).items()}
    width = named["cls_token"].shape[0]
    return named | {name: named[name].reshape(1, -1, width) for name in ("cls_token", "pos_embed")}


def _co_attention(state: State) -> dict[str, torch.Tensor]:
    """BERT's layers with cross-attention by the names of `CoAttentionLayer`, which projects q, k and v as one."""
    named = {_replaced(name, _BERT_LAYER): tensor for name, tensor in state.items()}
    for query in [name for name in named if ".query." in name]:
        parts = [named.pop(query.replace(".query.", f".{part}.")) for part in ("query", "key", "value")]
        named[query.replace(".query.", ".in_proj_")] = torch.cat(parts)
    return named


def _replaced(name: str, parts: Mapping[str, str]) -> str:
    """A name with the first of some parts that it holds replaced."""
    return next((name.replace(old, new) for old, new in parts.items() if old in name), name)


KEY_MAPS: dict[str, KeyMap] = {"resnet": resnet, "mgca": mgca, "smp_unet": smp_unet, "m3ae": m3ae}
"""Key maps by the name that configs use."""
