"""Radiographs as pictures for a screen, plain and with what was found on them."""

from __future__ import annotations

import cv2
import numpy as np

__all__ = ["COLOURS", "HEAT_COLOURS", "shown", "with_classes", "with_heat"]

COLOURS = ((86, 180, 233), (230, 159, 0), (0, 158, 115), (204, 121, 167), (240, 228, 66), (213, 94, 0), (0, 114, 178))
"""RGB of the classes, told apart by the colour-blind (Okabe and Ito, Color Universal Design, 2008); then again."""

_LONGEST = 1536  # px: more than a page shows, little enough to send at once
_FILL = 0.3  # opacity of a class
_GLOW = 0.7  # opacity of the highest place of a heat map
_CROSS = (0, 255, 255)


def shown(pixels: np.ndarray) -> np.ndarray:
    """A radiograph as a picture of its own shape.

    Args:
        pixels: uint8 or uint16 `[H, W]` over the full range.

    Returns:
        uint8 `[h, w, 3]`, h and w those of the radiograph, divided alike where one is above 1,536.
    """
    scale = min(1.0, _LONGEST / max(pixels.shape))
    size = tuple(max(1, round(side * scale)) for side in pixels.shape[::-1])
    smaller = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    grey = smaller if smaller.dtype == np.uint8 else (smaller // 257).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=-1)


def with_classes(picture: np.ndarray, label_map: np.ndarray) -> np.ndarray:
    """A picture with each class tinted and outlined in its colour.

    Args:
        picture: uint8 `[h, w, 3]`.
        label_map: uint8 `[H, W]` of the same scene, k where the k-th class is.

    Returns:
        uint8 `[h, w, 3]`.
    """
    overlaid = picture.copy()
    small = cv2.resize(label_map, picture.shape[1::-1], interpolation=cv2.INTER_NEAREST)
    thickness = max(1, round(max(small.shape) / 400))
    for number in np.unique(small[small > 0]).tolist():
        inside, colour = small == number, COLOURS[(number - 1) % len(COLOURS)]
        overlaid[inside] = ((1 - _FILL) * overlaid[inside] + _FILL * np.array(colour)).astype(np.uint8)
        outlines, _ = cv2.findContours(inside.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(overlaid, outlines, -1, colour, thickness, cv2.LINE_AA)
    return overlaid


def with_heat(picture: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """A picture with a heat map over it, clear where the map is low, and a cross at its highest place.

    Args:
        picture: uint8 `[h, w, 3]`.
        heat: float32 `[H, W]` of the same scene, nan where the model sees nothing; the colours span
            its range.

    Returns:
        uint8 `[h, w, 3]`.
    """
    lowest, highest = float(np.nanmin(heat)), float(np.nanmax(heat))
    strength = np.nan_to_num((heat - lowest) / max(highest - lowest, 1e-12)).astype(np.float32)
    small = cv2.resize(strength, picture.shape[1::-1], interpolation=cv2.INTER_AREA)
    opacity = _GLOW * small[..., None] ** 2
    overlaid = ((1 - opacity) * picture + opacity * _inferno(small)).astype(np.uint8)
    row, column = np.unravel_index(small.argmax(), small.shape)
    size = max(10, round(max(small.shape) / 30))
    cv2.drawMarker(overlaid, (int(column), int(row)), _CROSS, cv2.MARKER_CROSS, size, max(1, size // 12), cv2.LINE_AA)
    return overlaid


def _inferno(strength: np.ndarray) -> np.ndarray:
    """Colours of values in [0, 1]: uint8 `[..., 3]`, red first."""
    return cv2.applyColorMap(np.rint(strength * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1]


HEAT_COLOURS = tuple(map(tuple, _inferno(np.linspace(0, 1, 6, dtype=np.float32)[None])[0].tolist()))
"""RGB of heat from its lowest to its highest value, in even steps."""
