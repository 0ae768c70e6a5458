"""The size of an image file by its header, without decoding it."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from bundle.data.errors import DataError
from bundle.data.file_kind import file_kind
from bundle.data.image_size import check_image_size

__all__ = ["header_size"]

_EXIF_ORIENTATION = 0x0112
_EXIF_TURNED = (5, 6, 7, 8)  # orientations that swap rows and columns


def header_size(path: str | Path) -> tuple[int, int]:
    """Size of a DICOM, PNG, JPEG or NIfTI image as `bundle.data.radiograph_reader.read_radiograph` will find it.

    Args:
        path: the file; its content decides what it is.

    Returns:
        (H, W) in pixels.

    Raises:
        DataError: no such file, not an image, a header that can't be read, no pixels or more than 80 megapixels. What
            is wrong behind the header goes unnoticed.

    Example:
        >>> header_size("chest.dcm")  # doctest: +SKIP
        (3056, 2544)
    """
    path = Path(path)
    kind = file_kind(path)
    try:
        height, width = _OF_KIND.get(kind, _of_picture)(path)
    except DataError:
        raise
    except Exception as error:  # the parsers raise whatever they like on damaged files
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{path}: damaged or unsupported {kind} file ({reason})") from error
    check_image_size(path, height, width)
    return height, width


def _of_picture(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        # Pillow decodes a whole PNG to look for an orientation behind its pixels.
        exif = image.getexif() if image.format != "PNG" or "exif" in image.info else {}
        turned = exif.get(_EXIF_ORIENTATION) in _EXIF_TURNED
        width, height = image.size
    return (width, height) if turned else (height, width)


def _of_dicom(path: Path) -> tuple[int, int]:
    # Half a second that PNG and JPEG need not wait for.
    from pydicom import dcmread

    found = dcmread(path, stop_before_pixels=True, specific_tags=["Rows", "Columns"])
    if not found.get("Rows") or not found.get("Columns"):
        raise DataError(f"{path}: a DICOM file without an image")
    return int(found.Rows), int(found.Columns)


def _of_nifti(path: Path) -> tuple[int, int]:
    from bundle.data.nifti_pixels import read_nifti  # as for DICOM

    height, width = read_nifti(path)[0].shape
    return height, width


_OF_KIND = {"DICOM": _of_dicom, "NIfTI": _of_nifti}
