"""What all sheets of pictures share: fixed items, one sheet a validation, lines over a radiograph."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from ignite.engine import Events
from matplotlib.axes import Axes
from monai.engines import Workflow

__all__ = ["Place", "Sheets", "draw_outline"]

Place = tuple[bool, int]
"""Where an item stands among all: whether it comes after the others, and its number in the list."""

PictureT = TypeVar("PictureT")


class Sheets(ABC, Generic[PictureT]):
    """Draw `epoch_0003.png` from the first items of the list that an evaluator goes through.

    Items are told apart by their number in the list, so that they are the same however batches are sorted; no
    identifier and no text is drawn. With several processes attach it in the first one only, which draws the first items
    of its share. A subclass says what it takes of an item, and draws it.

    Args:
        folder: where the sheets go; it is made.
        count: number of items.
        every: epochs between two sheets.
    """

    def __init__(self, folder: str | Path, count: int = 8, every: int = 1) -> None:
        self.folder = Path(folder)
        self.count = count
        self.every = every
        self._kept: dict[Place, PictureT] = {}

    def attach(self, engine: Workflow) -> None:
        """Register with an evaluator."""
        engine.add_event_handler(Events.STARTED, self._clear)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._collect)
        engine.add_event_handler(Events.COMPLETED, self._draw)

    @abstractmethod
    def places(self, engine: Workflow) -> list[Place]:
        """The place of each item of the engine's batch."""

    @abstractmethod
    def take(self, output: Mapping[str, Any], items: Sequence[int]) -> list[PictureT]:
        """What is drawn of some items of a batch, on the host.

        Args:
            output: the engine's output: `image`, `pred` and `label` of the batch.
            items: their positions in the batch.
        """

    @abstractmethod
    def draw(self, pictures: Mapping[int, PictureT], path: Path) -> None:
        """Draw one sheet.

        Args:
            pictures: by number of the item.
            path: the PNG file.
        """

    def _clear(self, engine: Workflow) -> None:
        self._kept.clear()

    @torch.no_grad()
    def _collect(self, engine: Workflow) -> None:
        """Keep the items of this batch that are among the `count` first ones so far."""
        if engine.state.epoch % self.every:
            return
        places = self.places(engine)
        chosen = sorted({*self._kept, *places})[: self.count]
        new = {place: places.index(place) for place in chosen if place in places}
        if new:
            taken = self.take(engine.state.output, list(new.values()))
            kept = self._kept | dict(zip(new, taken, strict=True))
            self._kept = {place: kept[place] for place in chosen}

    def _draw(self, engine: Workflow) -> None:
        if self._kept:
            pictures = {number: picture for (_, number), picture in self._kept.items()}
            self.draw(pictures, self.folder / f"epoch_{engine.state.epoch:04d}.png")
            self._kept.clear()


def draw_outline(axis: Axes, mask: np.ndarray, colour: Any, style: str = "solid") -> None:
    """Draw the border of a mask, along the image's edge where the mask goes beyond it.

    Args:
        axis: where.
        mask: `[H, W]` in [0, 1], inside above .5; nothing is drawn where it is inside nowhere.
        colour: as matplotlib takes it.
        style: line style, such as `dashed`.
    """
    if mask.max() <= 0.5:  # matplotlib would warn
        return
    rows, columns = (np.clip(np.arange(-1, side + 1), -0.5, side - 0.5) for side in mask.shape)
    axis.contour(columns, rows, np.pad(mask, 1), levels=[0.5], colors=[colour], linewidths=0.8, linestyles=style)
