"""The pseudo mask of G2D: from attention to a segmentation target, on the device and without waiting for it.

Parts, each a small callable that a config may replace, and `PseudoMask`, which calls them in this order:

1. a *source* scores the cells of a coarse map (here by attention; `report_score` has those that reports condition),
2. a *body* tells where the patient is,
3. an *area rule* decides which scored pixels of the body belong to the mask (`peak_area` has one more),
4. *kept* tells whose masks are drawn at all,
5. *edges* are smoothed.

Reference: G2D (arXiv 2312.01522), section 3.2.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from kornia.filters import joint_bilateral_blur
from torch import Tensor
from torch.nn import functional as F

from bundle.transforms.moved import moved

__all__ = [
    "AbnormalAlone",
    "AttentionScore",
    "BilateralEdges",
    "BilinearQuantileArea",
    "GuidedEdges",
    "PseudoMask",
    "QuantileArea",
    "StoredBody",
    "WholeImage",
    "cells_in_body",
    "pixels_in_cells",
]

Tensors = dict[str, Tensor]


class PseudoMask:
    """Draw the segmentation target of a batch.

    Args:
        source: maps the prediction to scores `[B, h, w]`.
        body: maps the target to the body mask `[B, 1, H, W]`, bool.
        area: maps scores and body to the mask `[B, 1, H, W]`, bool.
        edges: maps mask `[B, 1, H, W]` in {0, 1} and image `[B, 1, H, W]` in [0, 1] to a mask in [0, 1]; none
            leaves the blocks of the coarse map as they are.
        rebinarize: threshold that makes the smoothed mask hard again; none keeps it soft.
        kept: maps the target to bool `[B]`, false for images whose masks are empty; none draws all, as published.
        offset: how far in px the cells look down and right of the middle of their blocks, as `cell_offset` measures it
            (ours): the mask is drawn as if they looked there, and moved. 0 takes blocks for what cells look at, as
            published: half a cell off in a ResNet.
    """

    def __init__(
        self,
        source: Callable[[Tensors], Tensor],
        body: Callable[[Tensors], Tensor],
        area: Callable[[Tensor, Tensor], Tensor],
        edges: Callable[[Tensor, Tensor], Tensor] | None = None,
        rebinarize: float | None = None,
        kept: Callable[[Tensors], Tensor] | None = None,
        offset: int = 0,
    ) -> None:
        self.source = source
        self.body = body
        self.area = area
        self.edges = edges
        self.rebinarize = rebinarize
        self.kept = kept
        self.offset = offset

    def __call__(self, prediction: Tensors, target: Tensors) -> Tensor:
        """Return the mask `[B, 1, H, W]`, fp32 in [0, 1], without gradient."""
        body = self.body(target)
        # Detached, and not in `no_grad`: some sources ask whether gradients are recorded.
        score = self.source(prediction).detach().float()
        drawn = self.area(score, moved(body, -self.offset))
        mask = (moved(drawn, self.offset) & body).float()
        if self.kept is not None:
            mask = mask * self.kept(target)[:, None, None, None]
        if self.edges is not None:
            mask = self.edges(mask, target["image"].float())
        if self.rebinarize is not None:
            mask = (mask >= self.rebinarize).float()
        return mask


class AttentionScore:
    """Mean over heads of the pooling attention: `attention` `[B, heads, h, w]` to `[B, h, w]`."""

    def __call__(self, prediction: Tensors) -> Tensor:
        return prediction["attention"].detach().float().mean(1)


class StoredBody:
    """The body mask made at packing and warped with its image: `body` `[B, 1, H, W]`, bool."""

    def __call__(self, target: Tensors) -> Tensor:
        return target["body"]


class WholeImage:
    """No body mask: every pixel counts."""

    def __call__(self, target: Tensors) -> Tensor:
        return torch.ones_like(target["image"], dtype=torch.bool)


class AbnormalAlone:
    """Keep the masks of images whose reports say that something is wrong: `abnormal` `[B]`, bool."""

    def __call__(self, target: Tensors) -> Tensor:
        return target["abnormal"]


class QuantileArea:
    """Pixels above a quantile of the body's scores, the scores enlarged to the image by nearest neighbour.

    The quantile over pixels is the *weighted* order statistic over cells, each cell weighing as many pixels as the body
    has in it: exactly equal, without sorting 65,536 pixels an image.

    Args:
        quantile: share of the body's pixels that stays outside (0.85 in the paper).
        inclusive: keep scores equal to the quantile (`>=`, paper) or only those above it (`>`, released code, which on
            an 8 x 8 map keeps 9 of 64 cells).
    """

    def __init__(self, quantile: float = 0.85, inclusive: bool = True) -> None:
        self.quantile = quantile
        self.inclusive = inclusive

    def __call__(self, score: Tensor, body: Tensor) -> Tensor:
        """Threshold the scores.

        Args:
            score: `[B, h, w]`.
            body: `[B, 1, H, W]`, bool; `H` and `W` are multiples of `h` and `w`.

        Returns:
            `[B, 1, H, W]`, bool, inside the body.
        """
        weight = pixels_in_cells(score, body)
        ordered, order = score.flatten(1).sort(1)
        pixels_below = weight.gather(1, order).double().cumsum(1)
        position = self.quantile * (pixels_below[:, -1:] - 1)

        def score_at(rank: Tensor) -> Tensor:
            index = (pixels_below <= rank).sum(1, keepdim=True).clamp(max=ordered.shape[1] - 1)
            return ordered.gather(1, index)[..., None]

        low, high = score_at(position.floor()), score_at(position.ceil())
        # The quantile lies between `low` and `high`: `low` itself reaches it only where both are the same.
        keep = (score > low) | ((score == low) & (low == high)) if self.inclusive else score > low
        return cells_in_body(keep, body)


def pixels_in_cells(score: Tensor, body: Tensor) -> Tensor:
    """How many pixels of the body `[B, 1, H, W]` lie in each cell of scores `[B, h, w]`: `[B, h w]`, fp32."""
    cell = (body.shape[-2] // score.shape[-2], body.shape[-1] // score.shape[-1])
    return F.avg_pool2d(body.float(), cell, divisor_override=1).flatten(1)


def cells_in_body(keep: Tensor, body: Tensor) -> Tensor:
    """The pixels of the body `[B, 1, H, W]` in those cells `[B, h, w]` that are kept; both bool."""
    return F.interpolate(keep[:, None].float(), size=body.shape[-2:]).bool() & body


class BilinearQuantileArea:
    """Pixels above a quantile of the body's scores, the scores enlarged bilinearly: rounder masks, for a sort.

    Args:
        quantile: share of the body's pixels that stays outside.
    """

    def __init__(self, quantile: float = 0.85) -> None:
        self.quantile = quantile

    def __call__(self, score: Tensor, body: Tensor) -> Tensor:
        """Map scores `[B, h, w]` and body `[B, 1, H, W]` to the mask `[B, 1, H, W]`, bool."""
        fine = F.interpolate(score[:, None], size=body.shape[-2:], mode="bilinear", align_corners=False)
        inside = fine.masked_fill(~body, float("nan")).flatten(1)
        threshold = torch.nanquantile(inside, self.quantile, dim=1)
        return (fine >= threshold[:, None, None, None]) & body


class BilateralEdges:
    """Bilateral filter of a {0, 1} mask, in closed form.

    On two values the range weight of a bilateral filter is 1 or `w = exp(-1 / (2 sigma_color^2))`, so the filter needs
    one blur A of the mask and C of its complement: A / (A + w C) inside, w A / (w A + C) outside. A blur is separable:
    one product with a banded matrix from each side. With `sigma_color` of 0.3 or less nothing changes by more than
    0.01, so the default is 1.

    Args:
        sigma_color: range sigma, in units of the mask.
        sigma_space: spatial sigma in px.
        window: odd width of the window in px.
    """

    def __init__(self, sigma_color: float = 1.0, sigma_space: float = 8.0, window: int = 15) -> None:
        self.weight = math.exp(-1 / (2 * sigma_color**2))
        self.sigma_space = sigma_space
        self.window = window

    def __call__(self, mask: Tensor, image: Tensor) -> Tensor:
        """Smooth the mask `[B, 1, H, W]`; the image is not looked at."""
        down, across = (self._band(side, mask.device) for side in mask.shape[-2:])
        inside = down @ mask @ across
        outside = (down.sum(1, keepdim=True) * across.sum(0, keepdim=True) - inside).clamp_min(0)
        w = self.weight
        return torch.where(mask > 0.5, inside / (inside + w * outside), w * inside / (w * inside + outside))

    def _band(self, side: int, device: torch.device) -> Tensor:
        """Weight of each pixel of a row for each other, `[side, side]`; the filter's ratio needs no normalisation."""
        place = torch.arange(side, device=device, dtype=torch.float32)
        distance = place[:, None] - place
        return torch.exp(-(distance**2) / (2 * self.sigma_space**2)) * (distance.abs() <= self.window // 2)


class GuidedEdges:
    """Joint bilateral filter guided by the radiograph, so that edges follow anatomy.

    Args:
        sigma_color: range sigma, in units of the image (0 to 1).
        sigma_space: spatial sigma in px.
        window: odd width of the window in px; cost and memory grow with its square.
    """

    def __init__(self, sigma_color: float = 0.1, sigma_space: float = 8.0, window: int = 9) -> None:
        self.sigma_color = sigma_color
        self.sigma_space = (sigma_space, sigma_space)
        self.window = window

    def __call__(self, mask: Tensor, image: Tensor) -> Tensor:
        """Smooth the mask `[B, 1, H, W]` along the edges of the image `[B, 1, H, W]` in [0, 1]."""
        return joint_bilateral_blur(mask, image, self.window, self.sigma_color, self.sigma_space)
