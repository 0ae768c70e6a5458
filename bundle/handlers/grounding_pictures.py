"""Heat maps over radiographs with the truth outlined: one sheet a validation or test."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from monai.engines import Workflow
from torch import Tensor

from .overlay_sheets import OverlaySheets, colour_of, radiograph_of
from .sheets import Place, draw_outline

__all__ = ["GroundingPictures", "PhraseMap"]

_LETTERS = 42  # of a title's line


class PhraseMap(NamedTuple):
    """A radiograph `[S, S]` in [0, 1], true mask `[S, S]`, heat map `[S, S]` (nan in padding), and what was asked."""

    radiograph: np.ndarray
    truth: np.ndarray
    heat: np.ndarray
    title: str


class GroundingPictures(OverlaySheets[PhraseMap]):
    """Lay heat maps over radiographs, from blue (lowest) to red (highest of this map), a cross where it is highest.

    Attach it to an evaluator whose output has the network's input as `image` `[M, 1, S, S]`, maps `[M, 1, S, S]` as
    `pred`, and as `label` the target of `PreparePhrases`. Titles are phrases of phantoms or prompts, or names of
    classes; never a text of a report.

    Args:
        folder: where the sheets `epoch_0003.png` go; it is made.
        count: number of phrases.
    """

    def places(self, engine: Workflow) -> list[Place]:
        """The pairs' own images alone, which come before those of the controls."""
        own = int((engine.state.output["label"]["kind"] == 0).sum())
        return super().places(engine)[:own]

    def has_truth(self, target: Mapping[str, Any]) -> Tensor:
        """Every pair has a finding: `[M]`, all true."""
        return target["index"] >= 0

    def take(self, output: Mapping[str, Any], items: Sequence[int]) -> list[PhraseMap]:
        """Radiograph, truth and map of some pairs."""
        return [self._picture(output["image"][item], output["pred"][item], output["label"], item) for item in items]

    def _picture(self, image: Tensor, maps: Tensor, target: Mapping[str, Any], item: int) -> PhraseMap:
        geometry = target["geometry"][item]
        top, left, bottom, right = geometry.content
        heat = np.full(image.shape[-2:], np.nan, dtype=np.float32)
        heat[top:bottom, left:right] = maps[0, top:bottom, left:right].float().cpu().numpy()
        truth = geometry.mask_to_fitted(target["truth"][item])
        return PhraseMap(radiograph_of(image), truth, heat, target["title"][item])

    def mark(self, axis: Axes, picture: PhraseMap) -> None:
        """Draw the map, its highest place and the border of the truth."""
        axis.imshow(picture.heat, cmap="jet", alpha=0.35)
        row, column = np.unravel_index(np.nanargmax(picture.heat), picture.heat.shape)
        axis.plot(column, row, "+", color="white", markersize=8)
        draw_outline(axis, picture.truth.astype(np.float32), colour_of(0, "truth"))
        axis.set_title(textwrap.fill(picture.title, _LETTERS), fontsize="small")

    def class_numbers(self, picture: PhraseMap) -> Iterable[int]:
        """None: the title says what was asked for."""
        return ()
