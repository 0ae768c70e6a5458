"""The YOLOv3 head of the public detection protocol over any pyramid encoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bundle.networks.blocks.box_selection import select_boxes
from bundle.networks.encoders.image_encoder import ImageEncoder
from bundle.networks.encoders.pyramid_levels import PyramidLevels
from bundle.networks.weights.freezing import FreezableNetwork

__all__ = ["YoloDetector", "YoloHead"]

# Width and height of each scale's anchors, coarse to fine, for images of 416 px.
_ANCHORS = (
    ((116.0, 90.0), (156.0, 198.0), (373.0, 326.0)),
    ((30.0, 61.0), (62.0, 45.0), (59.0, 119.0)),
    ((10.0, 13.0), (16.0, 30.0), (33.0, 23.0)),
)
_ANCHORS_SIZE = 416
_WIDTHS = (512, 256, 128)  # narrow units of each scale, coarse to fine; the 3x3 units have twice as many


class YoloHead(nn.Module):
    """Three scales of six convolution units and a 1x1 convolution to the raw values of three anchors.

    A unit is a convolution without bias, BatchNorm and LeakyReLU(.1). On each scale 1x1 and 3x3 units alternate; what
    the fifth gives goes through a further 1x1 unit of half the width, doubled by nearest neighbour, in front of the
    next finer map.

    Reference: Redmon and Farhadi, "YOLOv3: An Incremental Improvement" (arXiv 1804.02767), section 2.3.

    Args:
        channels: channels of the three maps, fine to coarse; each map has twice the stride of the one before.
        classes: number of classes.
        widths: channels of the narrow units, coarse to fine.

    Raises:
        ValueError: if there are not three maps.

    Example:
        >>> head = YoloHead(channels=(512, 1024, 2048), classes=1)
        >>> [tuple(raw.shape) for raw in head([torch.zeros(1, 512 << i, 28 >> i, 28 >> i) for i in range(3)])]
        [(1, 18, 7, 7), (1, 18, 14, 14), (1, 18, 28, 28)]
    """

    def __init__(self, channels: Sequence[int], classes: int, widths: Sequence[int] = _WIDTHS) -> None:
        super().__init__()
        if len(channels) != len(_ANCHORS):
            raise ValueError(f"A YOLO head reads three maps, fine to coarse, not {len(channels)}: choose three levels.")
        coarse_first = list(channels)[::-1]
        carried = [0, *(width // 2 for width in widths[:-1])]
        self.stems = nn.ModuleList(
            _stem(below + above, width) for below, above, width in zip(coarse_first, carried, widths, strict=True)
        )
        self.outputs = nn.ModuleList(
            nn.Sequential(_unit(width, 2 * width, 3), nn.Conv2d(2 * width, 3 * (5 + classes), 1)) for width in widths
        )
        self.branches = nn.ModuleList(_unit(width, width // 2, 1) for width in widths[:-1])

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Compute raw values `[B, 3 * (5 + classes), h, w]`, coarse to fine, from three maps, fine to coarse."""
        raw: list[Tensor] = []
        carried: Tensor | None = None
        for scale, level in enumerate(reversed(maps)):
            joined = level if carried is None else torch.cat([carried, level], 1)
            stem = self.stems[scale](joined)
            raw.append(self.outputs[scale](stem))
            if scale < len(self.branches):
                carried = F.interpolate(self.branches[scale](stem), scale_factor=2.0, mode="nearest")
        return raw


class YoloDetector(FreezableNetwork):
    """Image encoder and YOLOv3 head, with the anchors and the decoding of the public protocol.

    An anchor predicts its box by the sigmoid of the centre's place in the cell and by the logarithm of the box's size
    over its own. Trained with `YoloLoss`, no step waits for the device.

    Args:
        image_encoder: `[B, 1, S, S]` to a pyramid of maps, finest first.
        classes: number of classes.
        levels: three positions in the pyramid, fine to coarse.
        widths: channels of the head, coarse to fine.
        min_score: confidence that a detection has at least; lower it for curves over all confidences (FROC).
        max_overlap: IoU of closed pixel intervals above which the box of lower confidence is dropped.
        limit: detections of an image at most.

    Attributes:
        anchors: `[3, 3, 2]` width and height of each scale's anchors, coarse to fine, for images of 416 px; they grow
            and shrink with the image.

    Example:
        >>> network = YoloDetector(TimmEncoder("resnet50"), classes=1).freeze(["image_encoder"])
        >>> [tuple(values.shape) for values in network(torch.zeros(2, 1, 224, 224))["scales"]]
        [(2, 3, 7, 7, 6), (2, 3, 14, 14, 6), (2, 3, 28, 28, 6)]
    """

    anchors: Tensor

    def __init__(
        self,
        image_encoder: ImageEncoder,
        classes: int,
        levels: Sequence[int] = (-3, -2, -1),
        widths: Sequence[int] = _WIDTHS,
        min_score: float = 0.5,
        max_overlap: float = 0.5,
        limit: int = 100,
    ) -> None:
        super().__init__()
        self.image_encoder = image_encoder
        self.levels = PyramidLevels(image_encoder, levels)
        self.head = YoloHead(self.levels.channels, classes, widths)
        self.register_buffer("anchors", torch.tensor(_ANCHORS), persistent=False)
        self.min_score = min_score
        self.max_overlap = max_overlap
        self.limit = limit

    def forward(self, image: Tensor) -> dict[str, Any]:
        """Compute the raw values of all anchors.

        Args:
            image: `[B, 1, S, S]`, normalised; S as the encoder takes it.

        Returns:
            `scales`, coarse to fine: `[B, 3, h, w, 5 + classes]` of centre x and y (logits of the place in the cell),
            logarithms of width and height over the anchor's, logit of the confidence and logits of the classes;
            `anchors` `[3, 3, 2]` width and height in pixels; `strides` of the scales in pixels; and `size` (S, S).
        """
        raw = self.head(self.levels(self.image_encoder(image)))
        return {
            "scales": [values.unflatten(1, (3, -1)).permute(0, 1, 3, 4, 2) for values in raw],
            "anchors": self.anchors * (image.shape[-1] / _ANCHORS_SIZE),
            "strides": list(self.levels.strides[::-1]),
            "size": tuple(image.shape[2:]),
        }

    def detect(self, output: dict[str, Any]) -> list[dict[str, Tensor]]:
        """Turn an output of `forward` into detections.

        Returns:
            For each image `boxes` `[n, 4]` xyxy in pixels of the network's input, `scores` `[n]`, the confidences, and
            `labels` `[n]` int64, the likeliest classes, by falling score, on the output's device.
        """
        decoded = [
            _decode(values.float(), anchors, stride)
            for values, anchors, stride in zip(output["scales"], output["anchors"], output["strides"], strict=True)
        ]
        images = torch.cat(decoded, 1)
        return [self._detect_one(image, output["size"]) for image in images]

    def _detect_one(self, image: Tensor, size: tuple[int, int]) -> dict[str, Tensor]:
        sure = image[image[:, 4] >= self.min_score]
        labels = sure[:, 5:].argmax(1)
        return select_boxes(sure[:, :4], sure[:, 4], labels, size, self.max_overlap, self.limit, border=1.0)


def _unit(in_channels: int, out_channels: int, kernel: int) -> nn.Sequential:
    convolution = nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(out_channels), nn.LeakyReLU(0.1))


def _stem(in_channels: int, width: int) -> nn.Sequential:
    """The first five units of a scale."""
    wide = 2 * width
    plan = [(in_channels, width, 1), (width, wide, 3), (wide, width, 1), (width, wide, 3), (wide, width, 1)]
    return nn.Sequential(*(_unit(*unit) for unit in plan))


def _decode(values: Tensor, anchors: Tensor, stride: int) -> Tensor:
    """Boxes, confidence and class logits `[B, 3 * h * w, 5 + classes]` from the raw values of a scale."""
    height, width = values.shape[2:4]
    column = torch.arange(width, device=values.device)
    row = torch.arange(height, device=values.device)[:, None]
    x = (values[..., 0].sigmoid() + column) * stride
    y = (values[..., 1].sigmoid() + row) * stride
    half = values[..., 2:4].exp() * anchors[:, None, None] / 2
    boxes = torch.stack([x - half[..., 0], y - half[..., 1], x + half[..., 0], y + half[..., 1]], -1)
    return torch.cat([boxes, values[..., 4:5].sigmoid(), values[..., 5:]], -1).flatten(1, 3)
