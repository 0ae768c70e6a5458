"""MONAI's RetinaNet over any pyramid encoder."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import torch
from monai.apps.detection.networks.retinanet_network import RetinaNet
from monai.apps.detection.utils.anchor_utils import AnchorGenerator
from monai.apps.detection.utils.box_coder import BoxCoder
from monai.networks.blocks.feature_pyramid_network import FeaturePyramidNetwork
from torch import Tensor, nn

from bundle.networks.blocks.box_selection import select_boxes
from bundle.networks.encoders.image_encoder import ImageEncoder
from bundle.networks.encoders.pyramid_levels import PyramidLevels
from bundle.networks.weights.freezing import FreezableNetwork

__all__ = ["RetinaDetector"]

_CANDIDATES = 1000  # scores of an image that are decoded at most


class RetinaDetector(FreezableNetwork):
    """Image encoder, feature pyramid network, and MONAI's heads for class and box of every anchor.

    At each position of each level stand `len(octaves) * len(ratios)` anchors with the areas
    (`anchor_scale` * stride * octave) squared. MONAI's heads look for values that are not finite after each level, in
    training as in evaluation, and raise on them in training: there a step waits for the device.

    Reference: Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017, section 4 (arXiv 1708.02002), without the
    levels P6 and P7.

    Args:
        image_encoder: `[B, 1, H, W]` to a pyramid of maps, finest first.
        classes: number of classes.
        levels: positions in the pyramid that are read, fine to coarse.
        width: channels of the feature pyramid and of the heads, a multiple of 8.
        anchor_scale: side of the first anchor over the stride of its level.
        octaves: factors of the anchors' sides.
        ratios: heights over widths of the anchors.
        min_score: probability that a detection exceeds.
        max_overlap: IoU above which the box of lower score is dropped.
        limit: detections of an image at most.

    Attributes:
        anchors: MONAI's generator of the anchors.

    Raises:
        ValueError: if the encoder has no such levels.

    Example:
        >>> network = RetinaDetector(TimmEncoder("resnet50"), classes=1).eval()
        >>> network.detect(network(torch.zeros(2, 1, 224, 224)))[0]["boxes"].shape
        torch.Size([0, 4])
    """

    def __init__(
        self,
        image_encoder: ImageEncoder,
        classes: int,
        levels: Sequence[int] = (-3, -2, -1),
        width: int = 256,
        anchor_scale: float = 4.0,
        octaves: Sequence[float] = (1.0, 2 ** (1 / 3), 2 ** (2 / 3)),
        ratios: Sequence[float] = (0.5, 1.0, 2.0),
        min_score: float = 0.05,
        max_overlap: float = 0.5,
        limit: int = 100,
    ) -> None:
        super().__init__()
        self.image_encoder = image_encoder
        neck = _Neck(PyramidLevels(image_encoder, levels), width)
        sizes = tuple(tuple(anchor_scale * stride * octave for octave in octaves) for stride in neck.levels.strides)
        # MONAI's boxes have rows first unless told so: "xy" is the order of ours. Its sizes need not be integers.
        self.anchors = AnchorGenerator(sizes, (tuple(ratios),) * len(sizes), indexing="xy")  # type: ignore[arg-type]
        self.retina = RetinaNet(2, classes, len(octaves) * len(ratios), feature_extractor=neck)
        self.box_coder = BoxCoder(weights=(1.0, 1.0, 1.0, 1.0))
        self.min_score = min_score
        self.max_overlap = max_overlap
        self.limit = limit

    def forward(self, image: Tensor) -> dict[str, Any]:
        """Score and regress all anchors.

        Args:
            image: `[B, 1, H, W]`, normalised; sides as the encoder takes them.

        Returns:
            For the A anchors of all levels: `classification` `[B, A, classes]` logits, `box_regression` `[B, A, 4]`
            (shift of the centre over width and height, logarithms of their growth), `anchors` `[A, 4]` float32 xyxy in
            pixels; `locations`, positions of each level; and `size` (H, W).
        """
        maps = self.retina(self.image_encoder(image))
        logits = maps["classification"]
        # Not from the maps themselves: anchors of bf16 maps would be off by a pixel.
        shapes = [torch.empty_like(level, dtype=torch.float32) for level in logits]
        return {
            "classification": torch.cat([self._by_anchor(level) for level in logits], 1),
            "box_regression": torch.cat([self._by_anchor(level) for level in maps["box_regression"]], 1),
            "anchors": self.anchors(image, shapes)[0],
            "locations": [level.shape[2:].numel() for level in logits],
            "size": tuple(image.shape[2:]),
        }

    def detect(self, output: dict[str, Any]) -> list[dict[str, Tensor]]:
        """Turn an output of `forward` into detections.

        Returns:
            For each image `boxes` `[n, 4]` xyxy in pixels of the network's input, `scores` `[n]` in (0, 1) and `labels`
            `[n]` int64, by falling score, on the output's device.
        """
        pairs = zip(output["classification"].float(), output["box_regression"].float(), strict=True)
        return [self._detect_one(*pair, output["anchors"], output["size"]) for pair in pairs]

    def _detect_one(
        self, logits: Tensor, regression: Tensor, anchors: Tensor, size: tuple[int, int]
    ) -> dict[str, Tensor]:
        flat = logits.sigmoid().flatten()
        scores, order = flat.topk(min(_CANDIDATES, len(flat)))
        scores, order = scores[scores > self.min_score], order[scores > self.min_score]
        anchor, label = order // logits.shape[1], order % logits.shape[1]
        boxes = self.box_coder.decode_single(regression[anchor], anchors[anchor])
        return select_boxes(boxes, scores, label, size, self.max_overlap, self.limit)

    def _by_anchor(self, level: Tensor) -> Tensor:
        """From maps `[B, anchors * values, h, w]` to `[B, h * w * anchors, values]`, the order of the generator."""
        return level.unflatten(1, (self.retina.num_anchors, -1)).permute(0, 3, 4, 1, 2).flatten(1, 3)


class _Neck(nn.Module):
    """The encoder's maps through MONAI's feature pyramid network; what `RetinaNet` calls a feature extractor."""

    def __init__(self, levels: PyramidLevels, width: int) -> None:
        super().__init__()
        self.levels = levels
        self.out_channels = width
        self.pyramid = FeaturePyramidNetwork(2, list(levels.channels), width)

    def forward(self, maps: Sequence[Tensor]) -> dict[str, Tensor]:
        return self.pyramid(OrderedDict((str(number), level) for number, level in enumerate(self.levels(maps))))
