"""The loss of the YOLOv3 head of the public detection protocol."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["Assignment", "YoloLoss", "assign_boxes"]


@dataclass(frozen=True)
class Assignment:
    """What the anchors of one scale should predict.

    Attributes:
        responsible: `[B, 3, h, w]` bool, whether the anchor has a box.
        empty: `[B, 3, h, w]` bool, whether it should predict that it has none; neither holds for an anchor that fits a
            box of its cell without being its best.
        center: `[B, 3, h, w, 2]` place of the box's centre in the cell, x and y in [0, 1]; 0 without a box.
        growth: `[B, 3, h, w, 2]` logarithms of the box's width and height over the anchor's; 0 without a box.
        label: `[B, 3, h, w]` int64 class of the box; 0 without a box.
    """

    responsible: Tensor
    empty: Tensor
    center: Tensor
    growth: Tensor
    label: Tensor


def assign_boxes(
    boxes: Tensor, label: Tensor, anchors: Tensor, stride: int, grid: tuple[int, int], ignore: float = 0.5
) -> Assignment:
    """Give every box to one anchor of a scale: the one of its cell whose width and height fit best.

    The fit is the IoU of two boxes with a common centre. Of several boxes for one anchor the last gets it. Shapes are
    fixed, nothing waits for the device, and the boxes stay as they are.

    Args:
        boxes: `[B, M, 4]` float32 xyxy in pixels, zero padded.
        label: `[B, M]` int64, -1 where there is no box. Boxes without area are left out.
        anchors: `[3, 2]` width and height in pixels.
        stride: side of a cell in pixels.
        grid: rows and columns of cells.
        ignore: fit above which an anchor is not asked to predict that it has no box.

    Returns:
        What the anchors should predict.
    """
    rows, columns = grid
    # One row of padding more: there is something to gather from where no image of the batch has a box.
    boxes, label = F.pad(boxes, (0, 0, 0, 1)), F.pad(label, (0, 1), value=-1)
    real = (label >= 0) & (boxes[..., 2:] > boxes[..., :2]).all(-1)
    size = boxes[..., 2:] - boxes[..., :2]
    center = (boxes[..., :2] + boxes[..., 2:]) / 2 / stride
    column = center[..., 0].long().clamp(0, columns - 1)
    row = center[..., 1].long().clamp(0, rows - 1)
    fit = _fit(size, anchors)
    best = fit.argmax(-1, keepdim=True) == torch.arange(3, device=boxes.device)
    cell = (row * columns + column)[..., None] + rows * columns * torch.arange(3, device=boxes.device)
    count = 3 * rows * columns
    owner = _last_box(cell, best & real[..., None], count)
    fitting = _last_box(cell, (fit > ignore) & real[..., None], count)
    responsible = owner >= 0

    def owned(values: Tensor) -> Tensor:
        """Values `[B, M, n]` of the boxes at their anchors, `[B, anchors of the scale, n]`; 0 elsewhere."""
        chosen = owner.clamp(min=0)[..., None].expand(-1, -1, values.shape[-1])
        return torch.where(responsible[..., None], values.gather(1, chosen), 0)

    place = torch.stack([center[..., 0] - column, center[..., 1] - row], -1).clamp(0, 1)
    anchor_size = anchors.repeat_interleave(rows * columns, 0)
    growth = torch.where(responsible[..., None], owned(size), anchor_size).log() - anchor_size.log()
    shape = (3, rows, columns)
    return Assignment(
        responsible=responsible.unflatten(1, shape),
        empty=(~responsible & (fitting < 0)).unflatten(1, shape),
        center=owned(place).unflatten(1, shape),
        growth=growth.unflatten(1, shape),
        label=owned(label[..., None])[..., 0].unflatten(1, shape),
    )


class YoloLoss(nn.Module):
    """Centre, size, confidence and class of the anchors of all scales, added up.

    A box is assigned on every scale, so three anchors learn it. The terms of each scale are the binary cross-entropy of
    the centre's place in the cell and the squared error of the logarithms of the size, both of responsible anchors; and
    the binary cross-entropy of the confidence, of responsible and with `empty_weight` of empty anchors. They are sums
    over the number of all anchors of the batch. The last term is the binary cross-entropy of the classes, a mean over
    responsible anchors and classes. How many are responsible is counted over all processes: with DDP and batches of
    equal size the gradient is that of one process on the joined batch. Only while gradients are recorded, that is: in
    evaluation shards may be uneven.

    Reference: the detection protocol of MGCA (arXiv 2210.06044), whose head and loss are YOLOv3's (arXiv 1804.02767).

    Args:
        center_weight: weight of the cross-entropy of the centre.
        size_weight: weight of the squared error of the size.
        empty_weight: weight of empty anchors within the confidence.
        ignore: fit above which an anchor that is not responsible is not empty either.

    Attributes:
        last: unweighted `center`, `size`, `confidence` and `class` of the latest call, summed over scales, detached,
            still on the device.
    """

    def __init__(
        self, center_weight: float = 2.5, size_weight: float = 2.5, empty_weight: float = 0.5, ignore: float = 0.5
    ) -> None:
        super().__init__()
        self.weights = {"center": center_weight, "size": size_weight, "confidence": 1.0, "class": 1.0}
        self.empty_weight = empty_weight
        self.ignore = ignore
        self.last: dict[str, Tensor] = {}

    def forward(self, prediction: Mapping[str, Any], target: Mapping[str, Tensor]) -> Tensor:
        """Compare.

        Args:
            prediction: output of `YoloDetector`.
            target: `boxes` `[B, M, 4]` xyxy in pixels of the network's input; `box_label` `[B, M]` int64, -1 where
                there is no box.

        Returns:
            Scalar in fp32; ln 2 / 2 a scale for zero logits without boxes.
        """
        scales = [values.float() for values in prediction["scales"]]
        wanted = [
            assign_boxes(target["boxes"], target["box_label"], anchors, stride, values.shape[2:4], self.ignore)
            for values, anchors, stride in zip(scales, prediction["anchors"], prediction["strides"], strict=True)
        ]
        counts = _shared_counts(torch.stack([scale.responsible.sum() for scale in wanted]))
        found = [self._terms(*scale) for scale in zip(scales, wanted, counts, strict=True)]
        terms = {name: torch.stack([scale[name] for scale in found]).sum() for name in self.weights}
        self.last = {name: value.detach() for name, value in terms.items()}
        return torch.stack([self.weights[name] * value for name, value in terms.items()]).sum()

    def _terms(self, values: Tensor, wanted: Assignment, count: Tensor) -> dict[str, Tensor]:
        responsible = wanted.responsible.to(values.dtype)
        empty = wanted.empty.to(values.dtype)
        anchors = responsible.numel()
        center = F.binary_cross_entropy_with_logits(values[..., :2], wanted.center, reduction="none").sum(-1)
        size = (values[..., 2:4] - wanted.growth).square().sum(-1)
        confidence = F.binary_cross_entropy_with_logits(values[..., 4], responsible, reduction="none")
        classes = torch.arange(values.shape[-1] - 5, device=values.device) == wanted.label[..., None]
        likely = F.binary_cross_entropy_with_logits(values[..., 5:], classes.to(values.dtype), reduction="none").mean(
            -1
        )
        return {
            "center": (center * responsible).sum() / anchors,
            "size": (size * responsible).sum() / anchors,
            "confidence": (confidence * (responsible + self.empty_weight * empty)).sum() / anchors,
            "class": (likely * responsible).sum() / count,
        }


def _fit(size: Tensor, anchors: Tensor) -> Tensor:
    """IoU `[B, M, 3]` of boxes `[B, M, 2]` and anchors `[3, 2]` with a common centre; 0 for an empty box."""
    common = torch.minimum(size[..., None, :], anchors).prod(-1)
    return common / (size.prod(-1)[..., None] + anchors.prod(-1) - common)


def _last_box(cell: Tensor, chosen: Tensor, count: int) -> Tensor:
    """Number of the last chosen box at each of `count` places, -1 where there is none.

    Args:
        cell: `[B, M, 3]` int64, place of each box with each anchor.
        chosen: `[B, M, 3]` bool.
        count: number of places.

    Returns:
        `[B, count]` int64.
    """
    number = torch.arange(cell.shape[1], device=cell.device)[:, None]
    last = cell.new_full((cell.shape[0], count), -1)
    # A maximum knows no order: on a GPU too the last box wins each time.
    return last.scatter_reduce(1, cell.flatten(1), torch.where(chosen, number, -1).flatten(1), "amax")


def _shared_counts(counts: Tensor) -> Tensor:
    """Mean over processes of numbers `[n]`, as divisors (at least one over all processes)."""
    counts = counts.to(torch.float32)
    if not (torch.is_grad_enabled() and dist.is_available() and dist.is_initialized()):
        return counts.clamp(min=1)
    dist.all_reduce(counts)
    return counts.clamp(min=1) / dist.get_world_size()
