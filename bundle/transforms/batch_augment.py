"""Augmentation of whole batches on the device: one warp for all geometry, then intensity, and no waiting.

Random numbers and 3 x 3 matrices are made on the host, where they cost nothing and where the state of one generator
describes them all; the pixels are touched once, by a single resampling.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from kornia.geometry.transform import get_perspective_transform
from torch import Tensor
from torch.nn import functional as F

__all__ = [
    "AutoContrast",
    "BatchAugment",
    "CenterCrop",
    "Jitter",
    "RandomAffine",
    "RandomFlip",
    "RandomPerspective",
    "RandomResizedCrop",
]

Warp = Callable[[int], Tensor]
Intensity = Callable[[Tensor], Tensor]


class CenterCrop:
    """Cut the central square of `size` px out of images `[B, 1, H, W]` and masks `[B, K, H, W]`."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __call__(self, image: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        top, left = ((side - self.size) // 2 for side in image.shape[-2:])
        window = (..., slice(top, top + self.size), slice(left, left + self.size))
        return image[window], mask[window]


class BatchAugment:
    """Warp images and their masks together, crop, then change intensities of the images.

    Args:
        size: side of the square that is cut out, in px; the input's side gives no crop.
        warps: each maps a batch size to matrices `[B, 3, 3]` in coordinates of [-1, 1], from output to input.
        intensities: each maps images `[B, 1, H, W]` in [0, 1] to the same.
        random_crop: place the square at random; in the centre otherwise.
    """

    def __init__(
        self,
        size: int,
        warps: Sequence[Warp] = (),
        intensities: Sequence[Intensity] = (),
        random_crop: bool = True,
    ) -> None:
        self.size = size
        self.random_crop = random_crop
        self.warps = list(warps)
        self.intensities = list(intensities)

    def __call__(self, image: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Augment a batch.

        Args:
            image: `[B, 1, H, W]`, fp32 in [0, 1].
            mask: `[B, K, H, W]`, bool, of any number of channels, none included: body or classes.

        Returns:
            Image `[B, 1, size, size]` and mask `[B, K, size, size]`; what comes from outside the image is black and in
            no mask.
        """
        matrix = self._crop(image)
        for warp in self.warps:
            matrix = warp(len(image)) @ matrix
        grid = _sampling_grid(matrix.to(image.device, non_blocking=True), self.size)
        image = F.grid_sample(image, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
        mask = (
            F.grid_sample(mask.to(image.dtype), grid, mode="nearest", padding_mode="zeros", align_corners=False) > 0.5
        )
        for change in self.intensities:
            image = change(image)
        return image, mask

    def _crop(self, image: Tensor) -> Tensor:
        """Matrices `[B, 3, 3]` that show a window of whole pixels."""
        batch, (height, width) = len(image), image.shape[-2:]
        if min(height, width) < self.size:
            raise ValueError(f"cannot cut {self.size} px out of images of {height} x {width} px")
        matrix = torch.eye(3).repeat(batch, 1, 1)
        for axis, side in ((0, width), (1, height)):
            room = side - self.size
            start = torch.randint(room + 1, (batch,)) if self.random_crop else torch.full((batch,), room // 2)
            matrix[:, axis, axis] = self.size / side
            matrix[:, axis, 2] = (2 * start + self.size) / side - 1
        return matrix


class RandomPerspective:
    """Pull the corners of the image inwards, each by up to `distortion` of half the side.

    Args:
        distortion: largest share, in [0, 1].
        p: probability for an image.
    """

    def __init__(self, distortion: float = 0.2, p: float = 0.5) -> None:
        self.distortion = distortion
        self.p = p

    def __call__(self, batch: int) -> Tensor:
        corners = torch.tensor([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]]).repeat(batch, 1, 1)
        inwards = torch.rand(batch, 4, 2) * self.distortion * (torch.rand(batch, 1, 1) < self.p)
        return get_perspective_transform(corners * (1 - inwards), corners)


class RandomAffine:
    """Rotate, shear, scale and shift about the centre.

    Args:
        degrees: largest angle of rotation, in degrees.
        shear: largest angle of horizontal shear, in degrees.
        scale: smallest and largest magnification.
        translate: largest shift, as a share of the side.
        p: probability for an image.
    """

    def __init__(
        self,
        degrees: float = 0.0,
        shear: float = 0.0,
        scale: tuple[float, float] = (1.0, 1.0),
        translate: float = 0.0,
        p: float = 1.0,
    ) -> None:
        self.degrees = degrees
        self.shear = shear
        self.scale = scale
        self.translate = translate
        self.p = p

    def __call__(self, batch: int) -> Tensor:
        applied = (torch.rand(batch) < self.p).float()
        angle = math.radians(self.degrees) * (2 * torch.rand(batch) - 1) * applied
        shear = torch.tan(math.radians(self.shear) * (2 * torch.rand(batch) - 1)) * applied
        low, high = self.scale
        zoom = 1 + (low + (high - low) * torch.rand(batch) - 1) * applied
        matrix = torch.eye(3).repeat(batch, 1, 1)
        cos, sin = torch.cos(angle) / zoom, torch.sin(angle) / zoom
        matrix[:, 0, 0], matrix[:, 0, 1] = cos, shear * cos - sin
        matrix[:, 1, 0], matrix[:, 1, 1] = sin, shear * sin + cos
        matrix[:, :2, 2] = 2 * self.translate * (2 * torch.rand(batch, 2) - 1) * applied[:, None]
        return matrix


class RandomFlip:
    """Mirror left and right. The heart changes its side: not for labels that name one.

    Args:
        p: probability for an image.
    """

    def __init__(self, p: float = 0.5) -> None:
        self.p = p

    def __call__(self, batch: int) -> Tensor:
        matrix = torch.eye(3).repeat(batch, 1, 1)
        matrix[:, 0, 0] = torch.where(torch.rand(batch) < self.p, -1.0, 1.0)
        return matrix


class RandomResizedCrop:
    """Show a window of random area and aspect, stretched to the whole.

    Unlike torchvision's, whose windows are drawn until one fits into the image, aspects that do not fit are not drawn.

    Args:
        scale: smallest and largest area of the window, as a share of the image's, in (0, 1].
        ratio: smallest and largest ratio of the window's width to its height, drawn on a logarithmic scale.

    Reference: Szegedy et al., "Going deeper with convolutions" (CVPR 2015), section 6.
    """

    def __init__(self, scale: Sequence[float] = (0.08, 1.0), ratio: Sequence[float] = (3 / 4, 4 / 3)) -> None:
        self.scale = scale
        self.ratio = ratio

    def __call__(self, batch: int) -> Tensor:
        low, high = self.scale
        area = low + (high - low) * torch.rand(batch)
        narrow, wide = (torch.full((batch,), math.log(bound)) for bound in self.ratio)
        narrow, wide = narrow.maximum(area.log()), wide.minimum(-area.log())  # both sides at most the image's
        aspect = torch.exp(narrow + (wide - narrow) * torch.rand(batch))
        matrix = torch.eye(3).repeat(batch, 1, 1)
        for axis, side in ((0, (area * aspect).sqrt()), (1, (area / aspect).sqrt())):
            matrix[:, axis, axis] = side
            matrix[:, axis, 2] = (1 - side) * (2 * torch.rand(batch) - 1)
        return matrix


class AutoContrast:
    """Stretch an image to the whole range [0, 1] with probability `p`; a constant image stays as it is."""

    def __init__(self, p: float = 0.5) -> None:
        self.p = p

    def __call__(self, image: Tensor) -> Tensor:
        low, high = image.amin((-2, -1), keepdim=True), image.amax((-2, -1), keepdim=True)
        span = high - low
        stretched = torch.where(span > 0, (image - low) / span.clamp_min(1e-6), image)
        return torch.where(_on(image, torch.rand(len(image)) < self.p), stretched, image)


class Jitter:
    """Multiply brightness and contrast by random factors, 1 +- `brightness` and 1 +- `contrast`; clamp to [0, 1]."""

    def __init__(self, brightness: float = 0.2, contrast: float = 0.2) -> None:
        self.brightness = brightness
        self.contrast = contrast

    def __call__(self, image: Tensor) -> Tensor:
        def factor(strength: float) -> Tensor:
            return _on(image, 1 + strength * (2 * torch.rand(len(image)) - 1))

        image = (image * factor(self.brightness)).clamp(0, 1)
        mean = image.mean((-2, -1), keepdim=True)
        return (mean + (image - mean) * factor(self.contrast)).clamp(0, 1)


def _on(image: Tensor, values: Tensor) -> Tensor:
    """One value an image, ready to be broadcast over its pixels on its device."""
    return values.to(image.device, non_blocking=True)[:, None, None, None]


def _sampling_grid(matrix: Tensor, size: int) -> Tensor:
    """Where each output pixel is read: matrices `[B, 3, 3]` to `[B, size, size, 2]` in [-1, 1]."""
    axis = (2 * torch.arange(size, device=matrix.device, dtype=matrix.dtype) + 1) / size - 1
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    points = torch.stack([x, y, torch.ones_like(x)], dim=-1).flatten(0, 1) @ matrix.transpose(1, 2)
    return (points[..., :2] / points[..., 2:]).unflatten(1, (size, size))
