"""From a radiograph of any size to the square a network reads, and back for points, boxes and masks."""

from __future__ import annotations

from typing import Literal, NamedTuple

import cv2
import numpy as np

from bundle.data.errors import DataError

__all__ = ["Geometry", "crop_box", "fit"]


class Geometry(NamedTuple):
    """How an original image lies in its fitted square: fitted = (original - top left of the box) * scale + offset.

    A plain tuple of numbers, so that data loaders collate it. Points are (x, y) and boxes xyxy, in pixels with (0, 0)
    at the upper left corner of the upper left pixel, so that half-open boxes map to half-open boxes.

    Attributes:
        size: (H, W) of the original image.
        box: (top, left, bottom, right), half-open: the part of the original that is shown.
        scale: (row, column) fitted pixels per original pixel.
        offset: (row, column) of the upper left corner of the shown part in the square.
        side: S, height and width of the square.

    Example:
        >>> square, geometry = fit(pixels, 256)
        >>> geometry.boxes_to_original(geometry.boxes_to_fitted([[100, 200, 300, 400]]))
        array([[100., 200., 300., 400.]])
    """

    size: tuple[int, int]
    box: tuple[int, int, int, int]
    scale: tuple[float, float]
    offset: tuple[int, int]
    side: int

    @property
    def content(self) -> tuple[int, int, int, int]:
        """(top, left, bottom, right) of the shown part in the square, half-open; the rest is padding."""
        top, left, bottom, right = self.box
        height, width = round((bottom - top) * self.scale[0]), round((right - left) * self.scale[1])
        return self.offset[0], self.offset[1], self.offset[0] + height, self.offset[1] + width

    def points_to_fitted(self, points: np.ndarray | list) -> np.ndarray:
        """Points (x, y) [..., 2] of the original to the square, float64; those outside of the box stay outside."""
        return (np.asarray(points, dtype=np.float64) - self.box[1::-1]) * self.scale[::-1] + self.offset[::-1]

    def points_to_original(self, points: np.ndarray | list) -> np.ndarray:
        """Points (x, y) [..., 2] of the square to the original, float64."""
        return (np.asarray(points, dtype=np.float64) - self.offset[::-1]) / self.scale[::-1] + self.box[1::-1]

    def boxes_to_fitted(self, boxes: np.ndarray | list) -> np.ndarray:
        """Boxes xyxy [..., 4] of the original to the square, float64, clipped to the shown part (maybe to no area)."""
        return _clipped(self.points_to_fitted(_corners(boxes)), self.content)

    def boxes_to_original(self, boxes: np.ndarray | list) -> np.ndarray:
        """Boxes xyxy [..., 4] of the square to the original, float64, clipped to the original image."""
        return _clipped(self.points_to_original(_corners(boxes)), (0, 0, *self.size))

    def mask_to_fitted(self, mask: np.ndarray) -> np.ndarray:
        """A mask [H, W] of the original to the square [S, S] of the same dtype, nearest; padding is 0.

        Raises:
            DataError: the mask hasn't the size of the original image.
        """
        _check_shape(mask, self.size)
        top, left, bottom, right = self.box
        return _resize_into((self.side, self.side), self.content, mask[top:bottom, left:right])

    def mask_to_original(self, mask: np.ndarray) -> np.ndarray:
        """A mask [S, S] of the square to the original [H, W] of the same dtype, nearest; outside of the box it is 0.

        Raises:
            DataError: the mask hasn't the size of the square.
        """
        _check_shape(mask, (self.side, self.side))
        top, left, bottom, right = self.content
        return _resize_into(self.size, self.box, mask[top:bottom, left:right])


def crop_box(pixels: np.ndarray, threshold: int = 0) -> tuple[int, int, int, int]:
    """Box around everything that isn't black.

    Args:
        pixels: [H, W] image.
        threshold: values above it count; JPEG borders may need 2 or 3.

    Returns:
        (top, left, bottom, right), half-open; the whole image where nothing is above the threshold.

    Example:
        >>> crop_box(np.array([[0, 0, 0], [0, 7, 0]], dtype=np.uint8))
        (1, 1, 2, 2)
    """
    lit = pixels > threshold
    rows, columns = np.logical_or.reduce(lit, axis=1), np.logical_or.reduce(lit, axis=0)
    if not rows.any():
        return 0, 0, *pixels.shape
    bottom, right = rows.size - rows[::-1].argmax(), columns.size - columns[::-1].argmax()
    return int(rows.argmax()), int(columns.argmax()), int(bottom), int(right)


def fit(
    pixels: np.ndarray,
    size: int,
    mode: Literal["pad", "stretch"] = "pad",
    original: tuple[int, int] | None = None,
) -> tuple[np.ndarray, Geometry]:
    """Crops the black border and brings the rest to a square of 8 bits.

    16-bit images are resized as integers and scaled afterwards: 255/65535, so that the maximum stays 255.

    Args:
        pixels: [H, W] uint8, or uint16 over the full range.
        size: S, side of the square in pixels.
        mode: "pad" keeps the aspect and centres the image between black bars; "stretch" fills the square.
        original: (H, W) of the image that points, boxes and masks refer to, where `pixels` were decoded at a smaller
            scale (`Radiograph.size`); None: that of `pixels`.

    Returns:
        The square, uint8 [S, S], and how the original lies in it.

    Raises:
        DataError: pixels of another type or shape, or an unknown mode.

    Example:
        >>> radiograph = read_radiograph("chest.jpg", draft=512)
        >>> square, geometry = fit(radiograph.pixels, 256, original=radiograph.size)
    """
    if pixels.dtype not in (np.uint8, np.uint16) or pixels.ndim != 2:
        raise DataError(f"fit takes [H, W] pixels of uint8 or uint16, these are {pixels.dtype} {pixels.shape}")
    top, left, bottom, right = crop_box(pixels)
    height, width = _content_size(bottom - top, right - left, size, mode)
    offset = (size - height) // 2, (size - width) // 2
    content = (*offset, offset[0] + height, offset[1] + width)
    shown = _resized(pixels[top:bottom, left:right], height, width)
    square = np.zeros((size, size), dtype=np.uint8)
    square[content[0] : content[2], content[1] : content[3]] = shown

    original = original or (pixels.shape[0], pixels.shape[1])
    down, across = original[0] / pixels.shape[0], original[1] / pixels.shape[1]
    box = round(top * down), round(left * across), round(bottom * down), round(right * across)
    scale = height / (box[2] - box[0]), width / (box[3] - box[1])
    return square, Geometry(original, box, scale, offset, size)


def _content_size(height: int, width: int, size: int, mode: str) -> tuple[int, int]:
    """Height and width that an image takes in the square."""
    if mode == "stretch":
        return size, size
    if mode == "pad":
        longer = max(height, width)
        return max(1, round(height * size / longer)), max(1, round(width * size / longer))
    raise DataError(f'fit knows the modes "pad" and "stretch", not "{mode}"')


def _resized(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resized by area, or linearly where it grows (area would make blocks), then in 8 bits."""
    grows = height > pixels.shape[0] or width > pixels.shape[1]
    resized = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_LINEAR if grows else cv2.INTER_AREA)
    return resized if pixels.dtype == np.uint8 else cv2.convertScaleAbs(resized, alpha=255 / 65535)


def _corners(boxes: np.ndarray | list) -> np.ndarray:
    """Boxes [..., 4] as their two corners [..., 2, 2]."""
    boxes = np.asarray(boxes, dtype=np.float64)
    return boxes.reshape(*boxes.shape[:-1], 2, 2) if boxes.size else np.zeros((0, 2, 2))


def _clipped(corners: np.ndarray, frame: tuple[int, int, int, int]) -> np.ndarray:
    """Corners [..., 2, 2] moved into a (top, left, bottom, right) frame, as boxes [..., 4]."""
    top, left, bottom, right = frame
    return corners.clip((left, top), (right, bottom)).reshape(*corners.shape[:-2], 4)


def _check_shape(mask: np.ndarray, size: tuple[int, int]) -> None:
    if mask.shape != tuple(size):
        raise DataError(f"the mask is {mask.shape}, but its image is {tuple(size)} (rows, columns)")


def _resize_into(shape: tuple[int, int], box: tuple[int, int, int, int], part: np.ndarray) -> np.ndarray:
    """Zeros of a shape with a part, resized to the nearest pixel, in a (top, left, bottom, right) box."""
    top, left, bottom, right = box
    whole = np.zeros(shape, dtype=part.dtype)
    rows = _nearest(part.shape[0], bottom - top)
    columns = _nearest(part.shape[1], right - left)
    whole[top:bottom, left:right] = part[rows[:, None], columns]
    return whole


def _nearest(old: int, new: int) -> np.ndarray:
    """For each of `new` pixels the one of `old` pixels under its centre."""
    return ((2 * np.arange(new) + 1) * old) // (2 * new)
