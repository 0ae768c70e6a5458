"""Prediction against truth over radiographs: outlines of masks, and boxes; one sheet a validation or test."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from torch import Tensor

from .overlay_sheets import STYLES, Kind, OverlaySheets, colour_of, radiograph_of
from .sheets import draw_outline

__all__ = ["BoxPictures", "MaskPictures", "Masks", "ScoredBoxes"]


class Masks(NamedTuple):
    """A radiograph `[S, S]` in [0, 1] with true and predicted masks `[K, S, S]` in {0, 1}."""

    radiograph: np.ndarray
    truth: np.ndarray
    prediction: np.ndarray


class ScoredBoxes(NamedTuple):
    """A radiograph `[S, S]` in [0, 1] with boxes `[N, 4]` (xyxy pixels), labels `[N]` and, predicted, scores `[N]`."""

    radiograph: np.ndarray
    truth: np.ndarray
    truth_labels: np.ndarray
    prediction: np.ndarray
    labels: np.ndarray
    scores: np.ndarray


class MaskPictures(OverlaySheets[Masks]):
    """Outline true (cold colours, solid) and predicted masks (warm, dashed) over radiographs, one colour a class.

    Attach it to an evaluator whose output has the network's input as `image` `[B, 1, S, S]`, logits `[B, K, S, S]` as
    `pred`, and as `label` a mapping with `label` `[B, K, S, S]` in {0, 1} and perhaps `index` `[B]`.

    Args:
        folder: where the sheets `epoch_0003.png` go; it is made.
        count: number of radiographs.
        classes: names of the K classes for the caption.

    Example:
        >>> val_handlers = [MaskPictures("runs/train/siim/pictures", classes=["pneumothorax"])]
    """

    def has_truth(self, target: Mapping[str, Tensor]) -> Tensor:
        """Whether any mask has a pixel, `[B]` bool."""
        return (target["label"] > 0.5).flatten(1).any(1)

    def take(self, output: Mapping[str, Any], items: Sequence[int]) -> list[Masks]:
        """Radiographs and masks of some items."""
        truth, prediction = output["label"]["label"] > 0.5, output["pred"] > 0  # probability .5
        return [
            Masks(radiograph_of(output["image"][item]), *(masks[item].cpu().numpy() for masks in (truth, prediction)))
            for item in items
        ]

    def mark(self, axis: Axes, picture: Masks) -> None:
        """Outline every mask."""
        both: dict[Kind, np.ndarray] = {"truth": picture.truth, "prediction": picture.prediction}
        for kind, masks in both.items():
            for number, mask in enumerate(masks):
                draw_outline(axis, mask.astype(np.float32), colour_of(number, kind), STYLES[kind])

    def class_numbers(self, picture: Masks) -> Iterable[int]:
        """All K."""
        return range(len(picture.truth))


class BoxPictures(OverlaySheets[ScoredBoxes]):
    """Draw true (cold colours, solid) and predicted boxes (warm, dashed, with scores) over radiographs.

    Attach it to an evaluator whose output has the network's input as `image` `[B, 1, S, S]` and as `label` a mapping
    with `boxes` `[B, M, 4]` (xyxy pixels of that image), `box_label` `[B, M]` (-1 where there is no box) and perhaps
    `index` `[B]`.

    Args:
        folder: where the sheets `epoch_0003.png` go; it is made.
        count: number of radiographs.
        classes: names of the classes for the caption.
        detect: makes of the output `pred` one mapping an image with `boxes` `[N, 4]`, `scores` and `labels` `[N]`; not
            needed where `pred` is that already.
        shown: number of predicted boxes of an image that are drawn, those with the highest scores.
    """

    def __init__(
        self,
        folder: str | Path,
        count: int = 8,
        classes: Sequence[str] = (),
        detect: Callable[[Any], Sequence[Mapping[str, Tensor]]] | None = None,
        shown: int = 5,
    ) -> None:
        super().__init__(folder, count, classes)
        self.detect = detect
        self.shown = shown

    def has_truth(self, target: Mapping[str, Tensor]) -> Tensor:
        """Whether there is any box, `[B]` bool."""
        return (target["box_label"] >= 0).any(1)

    def take(self, output: Mapping[str, Any], items: Sequence[int]) -> list[ScoredBoxes]:
        """Radiographs and boxes of some items."""
        found = output["pred"] if self.detect is None else self.detect(output["pred"])
        return [self._boxes_of(output["image"][item], output["label"], found[item], item) for item in items]

    def _boxes_of(
        self, image: Tensor, target: Mapping[str, Tensor], found: Mapping[str, Tensor], item: int
    ) -> ScoredBoxes:
        boxes, labels = target["boxes"][item].cpu().numpy(), target["box_label"][item].cpu().numpy()
        there = labels >= 0
        best = found["scores"].float().argsort(descending=True)[: self.shown]
        predicted = (found[name][best].float().cpu().numpy() for name in ("boxes", "labels", "scores"))
        return ScoredBoxes(radiograph_of(image), boxes[there], labels[there], *predicted)

    def mark(self, axis: Axes, picture: ScoredBoxes) -> None:
        """Draw every box, and the scores of the predicted ones."""
        for box, label in zip(picture.truth, picture.truth_labels, strict=True):
            _rectangle(axis, box, int(label), "truth")
        for box, label, score in zip(picture.prediction, picture.labels, picture.scores, strict=True):
            _rectangle(axis, box, int(label), "prediction")
            _write(axis, f"{score:.2f}", (float(box[0]), float(box[1])))

    def class_numbers(self, picture: ScoredBoxes) -> Iterable[int]:
        """Those that occur."""
        return {int(label) for label in (*picture.truth_labels, *picture.labels)}


def _rectangle(axis: Axes, box: np.ndarray, label: int, kind: Kind) -> None:
    left, top, right, bottom = (float(edge) - 0.5 for edge in box)  # a pixel's centre is at its whole number
    style: dict[str, Any] = {"edgecolor": colour_of(label, kind), "linestyle": STYLES[kind], "linewidth": 1.0}
    axis.add_patch(Rectangle((left, top), right - left, bottom - top, fill=False, **style))


def _write(axis: Axes, text: str, corner: tuple[float, float]) -> None:
    """Write inside a box, below its upper left corner, with a dark rim that parts the letters from any grey."""
    options: dict[str, Any] = {"textcoords": "offset points", "va": "top", "fontsize": "small", "annotation_clip": True}
    text_drawn = axis.annotate(text, corner, (3, -3), color="white", **options)
    text_drawn.set_path_effects([withStroke(linewidth=1.5, foreground="black")])
