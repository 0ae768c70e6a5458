"""From scored boxes to the detections of an image."""

from __future__ import annotations

from torch import Tensor
from torchvision.ops import batched_nms, clip_boxes_to_image, remove_small_boxes

__all__ = ["select_boxes"]

_THINNEST = 1e-3  # px; what clipping has left of a box outside the image is not a detection


def select_boxes(
    boxes: Tensor,
    scores: Tensor,
    labels: Tensor,
    size: tuple[int, int],
    max_overlap: float,
    limit: int,
    border: float = 0.0,
) -> dict[str, Tensor]:
    """Clip boxes to the image, drop those that overlap a better one of their class, and keep the best.

    Args:
        boxes: `[N, 4]` xyxy in pixels.
        scores: `[N]`, higher is better.
        labels: `[N]` int64, class of each box.
        size: height and width of the image.
        max_overlap: IoU above which the box with the lower score is dropped.
        limit: boxes kept at most.
        border: added to width and height of every box where overlap is measured; 1 is the IoU of closed pixel
            intervals.

    Returns:
        `boxes` `[n, 4]`, `scores` `[n]` and `labels` `[n]` by falling score, n <= `limit`, on the same device.
    """
    boxes = clip_boxes_to_image(boxes, size)
    inside = remove_small_boxes(boxes, _THINNEST)
    boxes, scores, labels = boxes[inside], scores[inside], labels[inside]
    grown = boxes + boxes.new_tensor([0.0, 0.0, border, border])
    kept = batched_nms(grown, scores, labels, max_overlap)[:limit]
    return {"boxes": boxes[kept], "scores": scores[kept], "labels": labels[kept]}
