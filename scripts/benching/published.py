"""What the published code computes where ours takes a shorter way, to measure against. Written from its description."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from pydicom import dcmread
from skimage.transform import resize
from torch import Tensor
from torch.nn import functional as F

from bundle.networks.blocks.unet import PyramidDecoder

__all__ = ["PixelQuantileArea", "UpsamplingDecoder", "prepare_dicom", "prepare_jpeg"]


class UpsamplingDecoder(PyramidDecoder):
    """The same decoder in the published steps: enlarge the map, concatenate, convolve."""

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Decode a pyramid of maps, finest first, to logits `[B, out_channels, H, W]`."""
        return self.head(self.decoder(list(features), len(features) - 1))


class PixelQuantileArea:
    """Pixels above a quantile of the map enlarged to the image, found on the host by sorting all pixels.

    Without a body mask it draws the mask of `QuantileArea(quantile, inclusive=False)`.

    Args:
        quantile: share of the pixels that stays outside.
    """

    def __init__(self, quantile: float = 0.85) -> None:
        self.quantile = quantile

    def __call__(self, score: Tensor, body: Tensor) -> Tensor:
        """Map scores `[B, h, w]` to the mask `[B, 1, H, W]`, bool; of the body `[B, 1, H, W]` only the size counts."""
        fine = F.interpolate(score[:, None], size=body.shape[-2:]).cpu().numpy()
        threshold = np.quantile(fine, self.quantile, axis=(1, 2, 3), keepdims=True)
        return torch.from_numpy(fine > threshold).to(score.device)


def prepare_jpeg(path: str, size: int) -> np.ndarray:
    """One JPEG file as a square row, uint8 `[size, size]`: decoded in full, cropped, scaled, resized."""
    with Image.open(path) as image:
        return _prepare(np.asarray(image.convert("L")), size)


def prepare_dicom(path: str, size: int) -> np.ndarray:
    """One DICOM file as a square row, uint8 `[size, size]`, by the same steps."""
    return _prepare(dcmread(path).pixel_array, size)


def _prepare(pixels: np.ndarray, size: int) -> np.ndarray:
    """Box of all non-zero pixels, float64 scaling of the full image, unfiltered resizing to a square.

    The scaling is by 255: by 256, as published, the brightest pixel would wrap to 0, at the same cost.
    """
    rows, columns = np.nonzero(pixels)
    pixels = pixels[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1].astype(np.float64)
    pixels = (pixels - pixels.min()) * (255 / (pixels.max() - pixels.min()))
    return resize(pixels, (size, size), order=1, anti_aliasing=False, preserve_range=True).astype(np.uint8)
