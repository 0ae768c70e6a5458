"""The one limit on how large a radiograph may be, checked before anything is decoded."""

from __future__ import annotations

from pathlib import Path

from bundle.data.errors import DataError

__all__ = ["check_image_size"]

# Four times the largest detectors (about 20 megapixels), below the size at which Pillow starts to warn (89 megapixels).
_MOST_PIXELS = 80_000_000


def check_image_size(path: Path, height: int, width: int) -> None:
    """Refuses images of no size and decompression bombs, from the header alone.

    Args:
        path: file, for the message.
        height: rows in pixels.
        width: columns in pixels.

    Raises:
        DataError: a side is zero, or the image holds more than 80 megapixels.

    Example:
        >>> check_image_size(Path("chest.png"), 3056, 2544)
    """
    if height < 1 or width < 1:
        raise DataError(f"{path}: the image has no pixels ({height} rows, {width} columns)")
    if height * width > _MOST_PIXELS:
        most = _MOST_PIXELS // 1_000_000
        raise DataError(f"{path}: {height} x {width} pixels are more than the {most} megapixels a radiograph may have")
