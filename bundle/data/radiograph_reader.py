"""Radiographs of every file type as one grey array, upright and with bright bone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from bundle.data.errors import DataError
from bundle.data.file_kind import file_kind
from bundle.data.image_size import check_image_size

__all__ = ["Radiograph", "read_radiograph"]

_STRIDE = 32  # of the pixels that are looked at first
_EXIF_ORIENTATION = 0x0112
_EXIF_TURNED = (5, 6, 7, 8)  # orientations that swap rows and columns


@dataclass(frozen=True, eq=False)
class Radiograph:
    """One radiograph as read.

    Attributes:
        pixels: [H, W], uint8 or (sources of more than 8 bits) uint16 over the full range, row 0 at the top,
            bone bright.
        spacing: (row, column) distance of the original pixels in mm, None where the file doesn't tell.
        size: (H, W) of the original image; larger than `pixels` where a JPEG was decoded at half scale.
    """

    pixels: np.ndarray
    spacing: tuple[float, float] | None
    size: tuple[int, int]


def read_radiograph(path: str | Path, draft: int | None = None) -> Radiograph:
    """Reads a DICOM, PNG, JPEG or NIfTI radiograph; the content decides which it is, never the name.

    - DICOM (CR, DX, SC): modality LUT, VOI LUT or window, MONOCHROME1 inversion, scaling; see `dicom_pixels`.
    - PNG and JPEG: colour becomes luma, transparent is black, EXIF orientation is honoured; 16 bits keep their range.
      The file can't tell its polarity: bone is taken to be bright.
    - NIfTI (`.nii`, `.nii.gz`; 2-D or one slice): the first axis runs right, the second down, as ITK and MONAI write
      radiographs, so the array is transposed. The signs in the affine are ignored: writers flip them for a patient
      space that a projection doesn't have. uint8 is kept, all else is scaled from its own minimum and maximum to
      16 bits.

    Args:
        path: the file.
        draft: shortest longer side in pixels that the caller can use. A JPEG whose half still has it is decoded at half
            scale, which costs half and differs from full decoding and resizing by at most 1 grey level. None: full.

    Returns:
        The radiograph.

    Raises:
        DataError: no such file, not an image, damaged or cut short, no pixels, more than 80 megapixels, constant,
            colour or multi-frame DICOM, volume, values that are not finite. One sentence with file and reason.

    Example:
        >>> radiograph = read_radiograph("chest.dcm")
        >>> radiograph.pixels.shape, radiograph.pixels.dtype, radiograph.spacing
        ((3056, 2544), dtype('uint16'), (0.139, 0.139))
    """
    path = Path(path)
    kind = file_kind(path)
    try:
        radiograph = _read(path, kind, draft)
    except DataError:
        raise
    except Exception as error:  # the decoders raise whatever they like on damaged files
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{path}: damaged or unsupported {kind} file ({reason})") from error
    if _is_constant(radiograph.pixels):
        raise DataError(f"{path}: every pixel has the same value")
    return radiograph


def _is_constant(pixels: np.ndarray) -> bool:
    """Whether all pixels are equal; a few of them tell most images apart from that."""
    few = pixels[::_STRIDE, ::_STRIDE]
    return bool((few == pixels[0, 0]).all() and (pixels == pixels[0, 0]).all())


def _read(path: Path, kind: str, draft: int | None) -> Radiograph:
    if kind == "DICOM":
        # Half a second that PNG and JPEG need not wait for.
        from bundle.data.dicom_pixels import read_dicom

        pixels, spacing = read_dicom(path)
        return Radiograph(pixels, spacing, pixels.shape)
    if kind == "NIfTI":
        return _read_nifti(path)
    return _read_picture(path, kind, draft)


def _read_picture(path: Path, kind: str, draft: int | None) -> Radiograph:
    with Image.open(path, formats=[kind]) as image:
        width, height = image.size
        check_image_size(path, height, width)
        if draft is not None and max(image.size) // 2 >= draft:
            image.draft("L", (max(width // 2, 1), max(height // 2, 1)))
        turned = image.getexif().get(_EXIF_ORIENTATION) in _EXIF_TURNED
        ImageOps.exif_transpose(image, in_place=True)
        pixels = _grey(image)
    return Radiograph(pixels, None, (width, height) if turned else (height, width))


def _grey(image: Image.Image) -> np.ndarray:
    """Pixels [H, W] that may be written to, which a view on Pillow's own may not."""
    if image.mode.startswith("I;16"):
        return np.array(image, dtype=np.uint16)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image)
    return np.array(image if image.mode == "L" else image.convert("L"))


def _read_nifti(path: Path) -> Radiograph:
    # The others need not wait for nibabel.
    from bundle.data.nifti_pixels import read_nifti

    values, spacing = read_nifti(path)
    return Radiograph(_scaled(values, path), spacing, values.shape)


def _scaled(values: np.ndarray, path: Path) -> np.ndarray:
    """Kept as uint8, or scaled from minimum and maximum to uint16."""
    if values.dtype == np.uint8:
        return np.array(values, order="C")
    values = values.astype(np.float64)
    low, high = values.min(), values.max()
    if not (math.isfinite(low) and math.isfinite(high)):
        raise DataError(f"{path}: some values are not finite numbers")
    grey = (values - low) / ((high - low) or 1)
    return np.rint(grey * 65535).astype(np.uint16)
