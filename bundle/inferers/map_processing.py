"""What happens to a heat map between the patches of a network and the pixels of the radiograph: one part each."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from kornia.filters import gaussian_blur2d
from torch import Tensor
from torch.nn import functional as F

from bundle.data.errors import DataError
from bundle.data.phrases import Phrase
from bundle.transforms.geometry import Geometry

__all__ = [
    "Bilinear",
    "Contrast",
    "EvaluationSpace",
    "FittedSquare",
    "GaussianSmoothing",
    "Nearest",
    "OriginalImage",
    "Plain",
    "Upsampling",
    "in_original",
    "in_square",
]


class Plain:
    """A phrase's map is the map of its own sentences."""

    def ensembles(self, phrase: Phrase) -> tuple[tuple[str, ...], ...]:
        """The groups of sentences that maps are needed of."""
        return (phrase.texts,)

    def join(self, maps: Tensor) -> Tensor:
        """Maps of these groups `[..., 1, h, w]` to the phrase's map `[..., h, w]`."""
        return maps[..., 0, :, :]


class Contrast:
    """A phrase's map is half the map of its sentences minus that of those that deny it; so it stays in [-1, 1]."""

    def ensembles(self, phrase: Phrase) -> tuple[tuple[str, ...], ...]:
        """The groups of sentences that maps are needed of.

        Raises:
            DataError: nothing denies the phrase.
        """
        if not phrase.negatives:
            raise DataError(
                "a map of positive minus negative phrase needs sentences for the absence of each finding: give prompts "
                "with 'neg' for its class, or take the map of the phrase alone"
            )
        return phrase.texts, phrase.negatives

    def join(self, maps: Tensor) -> Tensor:
        """Maps of these groups `[..., 2, h, w]` to the phrase's map `[..., h, w]`."""
        return (maps[..., 0, :, :] - maps[..., 1, :, :]) / 2


class GaussianSmoothing:
    """Smooth a map of patches; beyond its edges it goes on with the values there.

    Args:
        sigma: in patches (BioViL: 1.5).
    """

    def __init__(self, sigma: float = 1.5) -> None:
        self.sigma = sigma

    def __call__(self, maps: Tensor) -> Tensor:
        """Smooth maps `[B, P, h, w]`."""
        size = 2 * round(4 * self.sigma) + 1
        return gaussian_blur2d(maps, (size, size), (self.sigma, self.sigma), border_type="replicate")


class Upsampling(ABC):
    """Brings maps to another number of pixels; those of both sizes cover the same area."""

    @abstractmethod
    def __call__(self, maps: Tensor, size: tuple[int, int]) -> Tensor:
        """Maps `[B, P, h, w]` to `[B, P, *size]`."""


class Nearest(Upsampling):
    """Each pixel gets the value of the patch it lies in. The highest place is then a whole block of pixels."""

    def __call__(self, maps: Tensor, size: tuple[int, int]) -> Tensor:
        """Maps `[B, P, h, w]` to `[B, P, *size]`."""
        return F.interpolate(maps, size, mode="nearest-exact")


class Bilinear(Upsampling):
    """Values are those of the patches at their centres, and linear between them."""

    def __call__(self, maps: Tensor, size: tuple[int, int]) -> Tensor:
        """Maps `[B, P, h, w]` to `[B, P, *size]`."""
        return F.interpolate(maps, size, mode="bilinear", align_corners=False)


def in_square(maps: Tensor, geometry: Geometry) -> Tensor:
    """Maps `[P, S, S]` with nan where the square is padding, which is no place of the radiograph."""
    top, left, bottom, right = geometry.content
    only = torch.full_like(maps, torch.nan)
    only[:, top:bottom, left:right] = maps[:, top:bottom, left:right]
    return only


def in_original(maps: Tensor, geometry: Geometry, upsampling: Upsampling) -> Tensor:
    """Bring maps of the square back to the pixels of the original image.

    Args:
        maps: `[P, S, S]`.
        geometry: how the original lies in the square.
        upsampling: how values between are found.

    Returns:
        `[P, H, W]`, nan outside of the part of the original that the square shows (a black border was cut off).
    """
    top, left, bottom, right = geometry.content
    first, start, last, end = geometry.box
    whole = maps.new_full((len(maps), *geometry.size), torch.nan)
    shown = maps[None, :, top:bottom, left:right]
    whole[:, first:last, start:end] = upsampling(shown, (last - first, end - start))[0]
    return whole


class EvaluationSpace(ABC):
    """Where maps and truth are compared: takes an engine's output to what a metric compares."""

    @abstractmethod
    def map_of(self, maps: Tensor, geometry: Geometry) -> Tensor:
        """A map `[1, S, S]` of the square as `[1, h, w]`, nan where there is nothing to compare."""

    @abstractmethod
    def truth_of(self, mask: np.ndarray, geometry: Geometry) -> np.ndarray:
        """A mask `[H, W]` of the original as `[h, w]`."""

    def __call__(self, output: Mapping[str, Any]) -> tuple[list[Tensor], dict[str, Any]]:
        """Prediction and target.

        Args:
            output: of the engine: `pred` `[M, 1, S, S]`; `label` a mapping with `truth`, M masks `[H, W]` of the
                originals, and `geometry`, how these lie in the squares.

        Returns:
            M maps `[h, w]`, and the mapping with the masks `[h, w]` bool, on the maps' device, as `truth`.
        """
        target = output["label"]
        maps, masks = [], []
        for one, mask, geometry in zip(output["pred"], target["truth"], target["geometry"], strict=True):
            maps.append(self.map_of(one, geometry)[0])
            masks.append(torch.from_numpy(self.truth_of(mask, geometry) > 0).to(one.device))
        return maps, {**target, "truth": masks}


class FittedSquare(EvaluationSpace):
    """Compare in the square that the network reads, masks resized to the nearest pixel (as MedKLIP does)."""

    def map_of(self, maps: Tensor, geometry: Geometry) -> Tensor:
        """The map without padding."""
        return in_square(maps, geometry)

    def truth_of(self, mask: np.ndarray, geometry: Geometry) -> np.ndarray:
        """The mask fitted as its image was."""
        return geometry.mask_to_fitted(mask)


class OriginalImage(EvaluationSpace):
    """Compare in the original image, pixel by pixel.

    Args:
        upsampling: brings maps there.
    """

    def __init__(self, upsampling: Upsampling | None = None) -> None:
        self.upsampling = upsampling or Bilinear()

    def map_of(self, maps: Tensor, geometry: Geometry) -> Tensor:
        """The map in the original."""
        return in_original(maps, geometry, self.upsampling)

    def truth_of(self, mask: np.ndarray, geometry: Geometry) -> np.ndarray:
        """The mask as it is."""
        return mask
