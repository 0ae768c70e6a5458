"""What the network looks at: attention, pseudo mask and decoder over fixed radiographs, one sheet a validation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Events
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from monai.engines import Workflow
from torch import Tensor
from torch.nn import functional as F

from .atomic import replacing

__all__ = ["Pictures", "draw_sheet"]

Row = dict[str, np.ndarray]

_INCHES = 2.4  # side of one picture


class Pictures:
    """Draw `epoch_0003.png`: one row for each of the first items of the validation list.

    Items are told apart by their number in the list, so that the rows are the same however batches are sorted; no
    identifier and no text is drawn. With several processes attach it in the first one only, which draws the first items
    of its share.

    Args:
        folder: where the sheets go; it is made.
        mask: draws the pseudo mask `[B, 1, S, S]` in [0, 1] from prediction and target, as `PseudoMask`.
        count: number of rows.
        every: epochs between two sheets.
    """

    def __init__(
        self,
        folder: str | Path,
        mask: Callable[[Mapping[str, Tensor], Mapping[str, Tensor]], Tensor],
        count: int = 8,
        every: int = 1,
    ) -> None:
        self.folder = Path(folder)
        self.mask = mask
        self.count = count
        self.every = every
        self._rows: dict[int, Row] = {}

    def attach(self, engine: Workflow) -> None:
        """Register with an evaluator."""
        engine.add_event_handler(Events.STARTED, self._clear)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._collect)
        engine.add_event_handler(Events.COMPLETED, self._draw)

    def _clear(self, engine: Workflow) -> None:
        self._rows.clear()

    def _is_due(self, engine: Workflow) -> bool:
        return engine.state.epoch % self.every == 0

    @torch.no_grad()
    def _collect(self, engine: Workflow) -> None:
        """Keep the items of this batch that are among the `count` with the lowest numbers so far."""
        numbers: list[int] = engine.state.batch["index"].tolist()
        chosen = sorted({*self._rows, *numbers})[: self.count]
        places = {number: numbers.index(number) for number in chosen if number in numbers}
        if not self._is_due(engine) or not places:
            return
        output: dict[str, Any] = engine.state.output
        rows = _rows(output["pred"], output["label"], self.mask, list(places.values()))
        kept = self._rows | dict(zip(places, rows, strict=True))
        self._rows = {number: kept[number] for number in chosen}

    def _draw(self, engine: Workflow) -> None:
        if self._rows:
            draw_sheet(self._rows, self.folder / f"epoch_{engine.state.epoch:04d}.png")
            self._rows.clear()


def _rows(
    prediction: Mapping[str, Tensor],
    target: Mapping[str, Tensor],
    mask: Callable[[Mapping[str, Tensor], Mapping[str, Tensor]], Tensor],
    places: list[int],
) -> list[Row]:
    """The images of some items of a batch, `[S, S]` each, on the host."""
    image = target["image"]
    # The mask is drawn for the whole batch: what it reads besides images is not known here.
    columns = {
        "radiograph": image,
        "attention": _enlarged(prediction["attention"].float().mean(1, keepdim=True), image.shape[-2:]),
        "body": target["body"],
        "mask": mask(prediction, target),
    }
    if "logits" in prediction:
        columns["decoder"] = prediction["logits"].float().sigmoid()
    return [{name: column[place, 0].float().cpu().numpy() for name, column in columns.items()} for place in places]


def _enlarged(attention: Tensor, size: torch.Size) -> Tensor:
    return F.interpolate(attention, size=tuple(size), mode="bilinear", align_corners=False)


def draw_sheet(rows: Mapping[int, Row], path: Path) -> None:
    """Draw one row of pictures an item and write them as PNG.

    Args:
        rows: by the item's number, each `[S, S]`: `radiograph` in [0, 1], `attention` (any scale), `body` in {0, 1},
            `mask` in [0, 1] and, with a decoder, `decoder` in [0, 1].
        path: the PNG file.
    """
    painters = {"radiograph": _radiograph, "attention": _attention, "body and pseudo mask": _masks}
    if all("decoder" in row for row in rows.values()):
        painters["decoder probability"] = _decoder
    figure = Figure(figsize=(len(painters) * _INCHES, len(rows) * _INCHES), layout="compressed")
    grid = figure.subplots(len(rows), len(painters), squeeze=False)
    for axes, (number, row) in zip(grid, rows.items(), strict=True):
        axes[0].set_ylabel(f"row {number}")
        for axis, (title, paint) in zip(axes, painters.items(), strict=True):
            axis.set(xticks=[], yticks=[])
            axis.imshow(row["radiograph"], cmap="gray", vmin=0, vmax=1)
            paint(axis, row)
            if axis in grid[0]:
                axis.set_title(title, fontsize="medium")
    with replacing(path) as partial:
        figure.savefig(partial, dpi=100)


def _radiograph(axis: Axes, row: Row) -> None:
    """Nothing over the radiograph."""


def _attention(axis: Axes, row: Row) -> None:
    above = row["attention"] - row["attention"].min()
    _glow(axis, above / max(above.max(), 1e-12))


def _masks(axis: Axes, row: Row) -> None:
    axis.imshow(row["mask"], cmap=ListedColormap(["red"]), alpha=0.5 * row["mask"])
    _outline(axis, row["body"], "cyan")


def _decoder(axis: Axes, row: Row) -> None:
    _glow(axis, row["decoder"])
    _outline(axis, row["mask"], "white")


def _glow(axis: Axes, strength: np.ndarray) -> None:
    """A map in [0, 1] over the radiograph, which stays clear where the map is low."""
    axis.imshow(strength, cmap="inferno", vmin=0, vmax=1, alpha=0.7 * strength)


def _outline(axis: Axes, mask: np.ndarray, colour: str) -> None:
    """The border of a mask; matplotlib would warn where there is none."""
    if mask.min() < 0.5 < mask.max():
        axis.contour(mask, levels=[0.5], colors=colour, linewidths=0.8)
