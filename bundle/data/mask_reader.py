"""Masks of radiographs from image files, upright, with the values that the file holds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from bundle.data.errors import DataError
from bundle.data.file_kind import file_kind
from bundle.data.image_size import check_image_size

__all__ = ["read_mask", "split_classes"]


def read_mask(path: str | Path) -> np.ndarray:
    """Reads a mask from a PNG or NIfTI file; the content decides which it is, never the name.

    - PNG of 1, 8 or 16 bits; RGB with three equal channels; a palette of greys stands for its greys, one of colours for
      its indices. What is fully transparent is 0. EXIF orientation is honoured, as it is for images.
    - NIfTI (2-D or one slice) as ITK, Slicer and MONAI Label write labels; see `read_nifti`.

    Args:
        path: the file.

    Returns:
        Whole numbers [H, W], 0 or more, row 0 at the top, neither scaled nor inverted.

    Raises:
        DataError: no such file, damaged, a JPEG (which blurs a mask's edge) or DICOM, colour, a volume, values below 0
            or that are no whole numbers. One sentence with file and reason.

    Example:
        >>> read_mask("masks/b343e657.png").max()  # doctest: +SKIP
        255
    """
    path = Path(path)
    kind = file_kind(path)
    if kind not in ("PNG", "NIfTI"):
        raise DataError(f"{path}: a mask can't be read from a {kind} file; save it as PNG or NIfTI")
    try:
        values = _read_picture(path) if kind == "PNG" else _read_nifti(path)
    except DataError:
        raise
    except Exception as error:  # the decoders raise whatever they like on damaged files
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{path}: damaged or unsupported {kind} file ({reason})") from error
    return _whole(values, path)


def split_classes(values: np.ndarray, classes: Sequence[str], path: str | Path) -> np.ndarray:
    """Separates the classes of a mask: everything above 0 for one class, else value k for class number k - 1.

    Args:
        values: whole numbers [H, W].
        classes: the K class names.
        path: the mask's file, for the message.

    Returns:
        bool [K, H, W].

    Raises:
        DataError: there are several classes and a value above K.

    Example:
        >>> split_classes(np.array([[0, 2], [1, 2]]), ["right lung", "left lung"], "lungs.png").astype(int).tolist()
        [[[0, 0], [1, 0]], [[0, 1], [0, 1]]]
    """
    if len(classes) == 1:
        return (values > 0)[None]
    largest = values.max()
    if largest > len(classes):
        raise DataError(
            f"{path}: the mask holds the value {largest}, but for {len(classes)} classes values are 0 (none) to "
            f"{len(classes)} ({classes[-1]})"
        )
    return values == np.arange(1, len(classes) + 1)[:, None, None]


def _read_picture(path: Path) -> np.ndarray:
    with Image.open(path, formats=["PNG"]) as image:
        width, height = image.size
        check_image_size(path, height, width)
        ImageOps.exif_transpose(image, in_place=True)
        if image.mode == "P" and not _has_grey_palette(image):
            return np.array(image)
        if image.has_transparency_data or image.mode in ("P", "RGB"):
            return _equal_channels(np.array(image.convert("RGBA")), path)
        return np.array(image)


def _has_grey_palette(image: Image.Image) -> bool:
    colours = np.array(image.getpalette("RGB") or []).reshape(-1, 3)
    return bool((colours == colours[:, :1]).all())


def _equal_channels(pixels: np.ndarray, path: Path) -> np.ndarray:
    """The value [H, W] that red, green and blue of pixels [H, W, 4] share."""
    grey = pixels[..., 0]
    if (pixels[..., :3] != grey[..., None]).any():
        raise DataError(f"{path}: a mask in colour; save it in grey, with the number of a class as its value")
    return np.where(pixels[..., 3] > 0, grey, 0)


def _read_nifti(path: Path) -> np.ndarray:
    # PNG need not wait for nibabel.
    from bundle.data.nifti_pixels import read_nifti

    return read_nifti(path)[0]


def _whole(values: np.ndarray, path: Path) -> np.ndarray:
    if values.dtype.kind in "bu":
        return np.array(values, dtype=np.uint8 if values.dtype.kind == "b" else values.dtype, order="C")
    numbers = np.nan_to_num(values, nan=-1, posinf=-1)
    if (numbers < 0).any() or (numbers != np.rint(numbers)).any():
        raise DataError(f"{path}: a mask's values must be whole numbers from 0, the numbers of its classes")
    return np.array(numbers, dtype=np.int64, order="C")
