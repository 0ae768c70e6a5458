"""What a masked-image decoder paints in the place of removed patches, one sheet a validation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from monai.engines import Workflow
from torch import Tensor

from .atomic import replacing
from .sheets import Place, Sheets

__all__ = ["Reconstruction", "Reconstructions", "draw_reconstructions", "reconstruct"]

_EPS = 1e-6  # that of the targets: (x - mean) / sqrt(variance + eps), the variance unbiased
_INCHES = 2.4  # side of one picture
_GREYS = 2.5  # standard deviations of a patch from black to mid grey


@dataclass(frozen=True)
class Reconstruction:
    """What is drawn of one image; pictures `[H, W]`, colours averaged.

    Attributes:
        original: as the network takes it.
        removed: bool, true where patches were removed.
        rebuilt: the original, removed patches painted with the mean and the contrast that they have in truth.
        prediction: of all patches, as the decoder gives it: each with mean 0 and standard deviation 1 if it is right.
        error: mean squared error of removed patches; 1 for a prediction of 0.
    """

    original: np.ndarray
    removed: np.ndarray
    rebuilt: np.ndarray
    prediction: np.ndarray
    error: float


class Reconstructions(Sheets[Reconstruction]):
    """Draw one row for each of the first items of the validation list after each validation.

    Nothing is drawn where the network has no masked-image decoder. Reads the engine's image and of its prediction
    `mim_prediction` and `mim_target` `[B, N, P]` and `mim_mask` `[B, N]`.

    Args:
        folder: where the sheets `epoch_0003.png` go; it is made.
        count: number of rows.
        every: epochs between two sheets.

    Example:
        >>> Reconstructions("runs/pretrain/m3ae/pictures").attach(evaluator)
    """

    def places(self, engine: Workflow) -> list[Place]:
        """Items in the order of the list."""
        if "mim_prediction" not in engine.state.output["pred"]:
            return []
        return [(False, number) for number in engine.state.batch["index"].tolist()]

    def take(self, output: Mapping[str, Any], items: Sequence[int]) -> list[Reconstruction]:
        """The pictures of some items."""
        prediction = output["pred"]
        columns = (output["image"], *(prediction[f"mim_{name}"] for name in ("prediction", "target", "mask")))
        return [reconstruct(*(column[item].float().cpu() for column in columns)) for item in items]

    def draw(self, pictures: Mapping[int, Reconstruction], path: Path) -> None:
        """Draw one row an item."""
        draw_reconstructions(pictures, path)


def reconstruct(image: Tensor, prediction: Tensor, target: Tensor, mask: Tensor) -> Reconstruction:
    """Put patches together.

    Args:
        image: `[C, H, W]` float32, as the network takes it.
        prediction: `[N, p * p * C]`, normalised pixels of patches, row by row, colours last.
        target: `[N, p * p * C]`, what they should be.
        mask: `[N]`, 1 for a removed patch and 0 for one that was seen.

    Returns:
        The pictures.
    """
    patch_size = math.isqrt(prediction.shape[1] // len(image))
    patches, removed = _split(image, patch_size), mask[:, None] > 0.5
    variance, mean = torch.var_mean(patches, dim=1, keepdim=True)
    painted = torch.where(removed, prediction * (variance + _EPS).sqrt() + mean, patches)
    flat = (patches, removed.expand_as(patches).float(), painted, prediction)
    original, hidden, rebuilt, raw = (_joined(x, image.shape, patch_size).mean(0).numpy() for x in flat)
    error = (prediction - target).square().mean(1)[mask > 0.5].mean()
    return Reconstruction(original, hidden > 0.5, rebuilt, raw, float(error))


def draw_reconstructions(rows: Mapping[int, Reconstruction], path: Path) -> None:
    """Draw one row of pictures an item and write them as PNG.

    Args:
        rows: by the item's number.
        path: the PNG file.
    """
    titles = (
        "original",
        "what is left",
        "painted, with the true\nmean and contrast",
        "as painted, each patch\nnormalised",
    )
    figure = Figure(figsize=(len(titles) * _INCHES, len(rows) * _INCHES), layout="compressed")
    grid = figure.subplots(len(rows), len(titles), squeeze=False)
    for axis, title in zip(grid[0], titles, strict=True):
        axis.set_title(title, fontsize="medium")
    for axes, (number, row) in zip(grid, rows.items(), strict=True):
        axes[0].set_ylabel(f"row {number}, error {row.error:.2f}")
        _draw_row(axes, row)
    with replacing(path) as partial:
        figure.savefig(partial, dpi=100)


def _draw_row(axes: Sequence[Axes], row: Reconstruction) -> None:
    greys: dict[str, Any] = {"cmap": "gray", "vmin": float(row.original.min()), "vmax": float(row.original.max())}
    for axis in axes:
        axis.set(xticks=[], yticks=[])
    axes[0].imshow(row.original, **greys)
    axes[1].imshow(row.original, **greys)
    axes[1].imshow(np.ma.masked_array(np.ones(row.removed.shape), ~row.removed), cmap=ListedColormap(["steelblue"]))
    axes[2].imshow(row.rebuilt, **greys)
    axes[3].imshow(row.prediction, cmap="gray", vmin=-_GREYS, vmax=_GREYS)


def _split(image: Tensor, patch_size: int) -> Tensor:
    """Patches `[N, p * p * C]` of an image `[C, H, W]`, row by row, colours last."""
    channels, height, width = image.shape
    rows = image.reshape(channels, height // patch_size, patch_size, width // patch_size, patch_size)
    return rows.permute(1, 3, 2, 4, 0).flatten(2).flatten(0, 1)


def _joined(patches: Tensor, shape: Sequence[int], patch_size: int) -> Tensor:
    """The image `[C, H, W]` of patches `[N, p * p * C]`."""
    channels, height, width = shape
    rows = patches.reshape(height // patch_size, width // patch_size, patch_size, patch_size, channels)
    return rows.permute(4, 0, 2, 1, 3).reshape(channels, height, width)
