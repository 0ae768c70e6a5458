"""Where in the image the cells of a feature map look."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from bundle.networks.encoders.image_encoder import ImageEncoder

__all__ = ["cell_offset"]

_IMAGES = 4


def cell_offset(encoder: ImageEncoder, size: Sequence[int], channels: int = 1) -> int:
    """How far the cells of the coarsest map look off the middle of the block of pixels that they stand for.

    A map of stride s is commonly enlarged as if its cell i looked at the pixels from s i to s (i + 1). In a ResNet it
    doesn't: a padded 3x3 convolution of stride 2 puts its first output on the first pixel, so after five of them cell i
    looks at pixel 32 i, half a cell up and left of the middle of its block, and whatever is drawn from the map lies as
    far down and right of what it shows. Networks that cut patches (ViT, Swin, ConvNeXt) look at the middle of their
    blocks; EfficientNet, ResNet-D and those with TensorFlow's padding lie in between or beyond.

    Measured rather than reckoned, so that it holds for any network: the centre of mass of the gradient that the middle
    cell sends to images of noise.

    Args:
        encoder: the encoder, on any device; the modes of its parts, gradients and the random state stay as they are.
        size: height and width in px of the images that it will see.
        channels: of these images.

    Returns:
        Whole pixels, the same down and right; negative: up and left.

    Example:
        >>> cell_offset(TimmEncoder("resnet50"), (224, 224))  # doctest: +SKIP
        -15
    """
    stride, like = encoder.strides[-1], next(encoder.parameters())
    cell = [(side // stride - 1) // 2 for side in size]
    modes = {module: module.training for module in encoder.modules()}  # a part may be frozen
    encoder.eval()
    with torch.inference_mode(False), torch.enable_grad():
        images = torch.randn(_IMAGES, channels, *size, generator=torch.Generator().manual_seed(0))
        images = images.to(like).requires_grad_()
        seen = encoder(images)[-1][:, :, cell[0], cell[1]].square().sum()
        weight = torch.autograd.grad(seen, images)[0].abs().sum((0, 1)).double()
    for module, training in modes.items():
        module.training = training
    off = [
        float((weight.sum(1 - axis) * torch.arange(size[axis], device=weight.device)).sum() / weight.sum())
        - stride * cell[axis]
        - (stride - 1) / 2
        for axis in (0, 1)
    ]
    return round(sum(off) / 2)
