"""Images of known content, in place of the rendering of radiographs; light, since worker processes import it."""

from __future__ import annotations

import os

import numpy as np

from bundle.data.errors import DataError
from bundle.data.pack_images import PackedImage

SIZE = 16


def image_of(number: int) -> np.ndarray:
    """Image `[16, 16]` uint8 that no other number has."""
    return np.random.default_rng(number).integers(0, 256, (SIZE, SIZE), np.uint8)


def body_of(number: int) -> np.ndarray:
    """Body mask `[16, 16]` that no other number has, with no symmetry that would hide a swap of bits."""
    return np.random.default_rng(1000 + number).random((SIZE, SIZE)) < 0.3


def render(path: str) -> PackedImage:
    """Renders "17" to image and mask number 17; refuses "bad"."""
    if path.startswith("bad"):
        raise DataError(f"{path}: not an image")
    return PackedImage(image_of(int(path)), body_of(int(path)), np.arange(10, dtype=np.float64) + int(path))


def render_dying(path: str) -> PackedImage:
    """Ends its process, as a decoder that crashes does."""
    os._exit(1)
