"""What the network looks at: attention, pseudo mask and decoder over fixed radiographs, one sheet a validation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from monai.engines import Workflow
from torch import Tensor
from torch.nn import functional as F

from bundle.transforms.moved import moved

from .atomic import replacing
from .sheets import Place, Sheets, draw_outline

__all__ = ["Pictures", "draw_sheet"]

Row = dict[str, np.ndarray]

_INCHES = 2.4  # side of one picture


class Pictures(Sheets[Row]):
    """Draw one row for each of the first items of the validation list after each validation.

    Args:
        folder: where the sheets go; it is made.
        mask: draws the pseudo mask `[B, 1, S, S]` in [0, 1] from prediction and target, as `PseudoMask`.
        count: number of rows.
        every: epochs between two sheets.
        offset: by which the attention is moved, in px, to lie on what its cells look at (`cell_offset`).
    """

    def __init__(
        self,
        folder: str | Path,
        mask: Callable[[Mapping[str, Tensor], Mapping[str, Tensor]], Tensor],
        count: int = 8,
        every: int = 1,
        offset: int = 0,
    ) -> None:
        super().__init__(folder, count, every)
        self.mask = mask
        self.offset = offset

    def places(self, engine: Workflow) -> list[Place]:
        """Items in the order of the list."""
        return [(False, number) for number in engine.state.batch["index"].tolist()]

    @torch.no_grad()  # by which what draws the mask knows that no other process draws along
    def take(self, output: Mapping[str, Any], items: Sequence[int]) -> list[Row]:
        """The maps of some items, `[S, S]` each."""
        return _rows(output["pred"], output["label"], self.mask, items, self.offset)

    def draw(self, pictures: Mapping[int, Row], path: Path) -> None:
        """Draw one row an item."""
        draw_sheet(pictures, path)


def _rows(
    prediction: Mapping[str, Tensor],
    target: Mapping[str, Tensor],
    mask: Callable[[Mapping[str, Tensor], Mapping[str, Tensor]], Tensor],
    items: Sequence[int],
    offset: int,
) -> list[Row]:
    """The images of some items of a batch, `[S, S]` each, on the host."""
    image = target["image"]
    # The mask is drawn for the whole batch: what it reads besides images is not known here.
    columns = {
        "radiograph": image,
        "attention": moved(_enlarged(prediction["attention"].float().mean(1, keepdim=True), image.shape[-2:]), offset),
        "body": target["body"],
        "mask": mask(prediction, target),
    }
    if "logits" in prediction:
        columns["decoder"] = prediction["logits"].float().sigmoid()
    return [{name: column[item, 0].float().cpu().numpy() for name, column in columns.items()} for item in items]


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
    draw_outline(axis, row["body"], "cyan")


def _decoder(axis: Axes, row: Row) -> None:
    _glow(axis, row["decoder"])
    draw_outline(axis, row["mask"], "white")


def _glow(axis: Axes, strength: np.ndarray) -> None:
    """A map in [0, 1] over the radiograph, which stays clear where the map is low."""
    axis.imshow(strength, cmap="inferno", vmin=0, vmax=1, alpha=0.7 * strength)
