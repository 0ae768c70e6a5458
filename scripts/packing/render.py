"""One radiograph file as a row of a packed store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from bundle.data.pack_images import PackedImage
from bundle.data.radiograph_reader import read_radiograph
from bundle.transforms.body_mask import body_mask
from bundle.transforms.geometry import fit

__all__ = ["RenderRadiograph"]

cv2.setNumThreads(1)  # the processes share the cores; threads inside each would only get in each other's way


@dataclass(frozen=True)
class RenderRadiograph:
    """Reads a file, crops its black border, fits it into a square and marks the body.

    Attributes:
        size: side of the square in pixels.
        mode: "pad" keeps the aspect, "stretch" fills the square.
    """

    size: int
    mode: Literal["pad", "stretch"]

    def __call__(self, path: str) -> PackedImage:
        """Renders one file.

        Raises:
            DataError: the file can't be used.
        """
        # Twice the size: after half-scale decoding a cropped border may be lost without the rest having to grow.
        radiograph = read_radiograph(path, draft=2 * self.size)
        image, geometry = fit(radiograph.pixels, self.size, self.mode, radiograph.size)
        columns = np.array([*geometry.size, *geometry.box, *geometry.scale, *geometry.offset], np.float64)
        return PackedImage(image, body_mask(image), columns)
