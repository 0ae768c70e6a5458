"""Run lengths as the SIIM-ACR challenge writes them: pairs "offset length", down the columns.

Each offset counts from the end of the run before; `bundle.transforms.annotation_masks.rle_to_mask` decodes them.
"""

from __future__ import annotations

from collections.abc import Sequence

from bundle.data.errors import DataError

__all__ = ["checked_rle"]


def checked_rle(code: str, size: Sequence[int]) -> str:
    """Make sure that run lengths are whole and fit an image.

    Args:
        code: the run lengths.
        size: [H, W] of the image.

    Returns:
        `code` with single blanks.

    Raises:
        DataError: they aren't pairs of whole numbers from 0 (as when a file was cut off), or pass the image's end.
    """
    numbers = code.split()
    if len(numbers) % 2 or not all(number.isdecimal() for number in numbers):
        raise DataError(f"its run lengths '{code[:30]}...' are no pairs of offset and length")
    if (end := sum(map(int, numbers))) > size[0] * size[1]:
        raise DataError(f"its run lengths reach pixel {end} of an image of {size[1]} x {size[0]} pixels")
    return " ".join(numbers)
