"""Where a heat map comes from: what of a vision-language model is compared with a phrase, place by place.

A source is called with the model, images and embedded phrases and returns a map for each phrase, in [-1, 1]. Two more
sources do not look at the phrase: they show what pre-training attends to, and their figures bear another name.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor
from torch.nn import functional as F

from bundle.inferers.autocast import AutocastInferer
from bundle.inferers.vision_language import VisionLanguageModel

__all__ = ["AttentionMap", "DecoderMap", "GradCam", "MapSource", "ProjectedPatches", "ValuePatches"]


class MapSource(ABC):
    """Makes maps of images for embedded phrases.

    Attributes:
        prefix: stands before the names of all metrics of such maps; empty where a map is grounding, which it is only if
            it depends on the phrase.
    """

    prefix: str = ""

    @abstractmethod
    def __call__(self, model: VisionLanguageModel, image: Tensor, text: Tensor) -> Tensor:
        """Make maps.

        Args:
            model: the model in use.
            image: `[B, 1, S, S]`, normalised.
            text: `[B, P, D]`, of each image P phrases of length 1.

        Returns:
            `[B, P, h, w]` fp32 in [-1, 1], higher where the phrase is rather to be seen.
        """


class ProjectedPatches(MapSource):
    """`proj`: cosine of each projected patch with the phrase.

    Reference: G2D (arXiv 2312.01522), zero-shot grounding, after BioViL (arXiv 2204.09817).
    """

    def __call__(self, model: VisionLanguageModel, image: Tensor, text: Tensor) -> Tensor:
        """Maps `[B, P, h, w]`."""
        return _cosine(model.patches(image)[0], text)


class ValuePatches(MapSource):
    """`value`: cosine of each patch, sent alone down the value path of the pool, with the phrase.

    Closer to training than `proj`, where only the pooled vector is aligned with text.

    Reference: MaskCLIP (arXiv 2112.01071).
    """

    def __call__(self, model: VisionLanguageModel, image: Tensor, text: Tensor) -> Tensor:
        """Maps `[B, P, h, w]`."""
        return _cosine(model.patches(image)[1], text)


class GradCam(MapSource):
    """`gradcam`: channels of the encoder's last map, weighted by their gradient of the image-text score.

    What lowers the score is cut off, and the map of each phrase is divided by its highest value.

    Reference: Grad-CAM (arXiv 1610.02391).
    """

    def __call__(self, model: VisionLanguageModel, image: Tensor, text: Tensor) -> Tensor:
        """Maps `[B, P, h, w]` in [0, 1]."""
        network = model.network
        last = AutocastInferer(model.precision)(image, network.image_encoder)[-1].float()
        with torch.enable_grad():
            last = last.detach().requires_grad_()
            pooled, _ = network.pool(network.image_projection(last))
            scores = (F.normalize(pooled, dim=-1)[:, None] * text).sum(-1)
            gradients = [torch.autograd.grad(one.sum(), last, retain_graph=True)[0] for one in scores.unbind(1)]
        weights = torch.stack(gradients, 1).mean((-2, -1))
        maps = torch.einsum("bpc,bchw->bphw", weights, last.detach()).clamp(min=0)
        return maps / maps.amax((-2, -1), keepdim=True).clamp(min=1e-12)


class AttentionMap(MapSource):
    """`attn`: mean over heads of the pool's attention. It does not depend on the phrase and is no grounding."""

    prefix = "text_independent_"

    def __call__(self, model: VisionLanguageModel, image: Tensor, text: Tensor) -> Tensor:
        """The same map `[B, P, h, w]` in [0, 1] for every phrase."""
        attention = model.encode_image(image)["attention"].float().mean(1, keepdim=True)
        return attention.expand(-1, text.shape[1], -1, -1)


class DecoderMap(MapSource):
    """`decoder`: probability that the decoder gives each pixel. It does not depend on the phrase and is no grounding.

    Raises:
        ValueError: when called with a model without decoder.
    """

    prefix = "text_independent_"

    def __call__(self, model: VisionLanguageModel, image: Tensor, text: Tensor) -> Tensor:
        """The same map `[B, P, S, S]` in [0, 1] for every phrase."""
        output = model.encode_image(image)
        if "logits" not in output:
            raise ValueError("maps of the decoder were asked for, but this model has none: choose another map source")
        return output["logits"].float().sigmoid().expand(-1, text.shape[1], -1, -1)


def _cosine(patches: Tensor, text: Tensor) -> Tensor:
    """Cosine of patches `[B, D, h, w]` with phrases `[B, P, D]` of length 1: `[B, P, h, w]`."""
    return torch.einsum("bdhw,bpd->bphw", F.normalize(patches, dim=1), text)
