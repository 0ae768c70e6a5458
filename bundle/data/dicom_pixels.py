"""Grey values of a DICOM radiograph: modality LUT, VOI LUT or window, polarity and scale in one look-up table."""

from __future__ import annotations

from collections.abc import MutableSequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from pydicom import Dataset, dcmread
from pydicom.pixels import apply_modality_lut, apply_voi_lut, pixel_array

from bundle.data.errors import DataError
from bundle.data.image_size import check_image_size

__all__ = ["read_dicom"]

_DIGITS = 6  # of a grey level; far above the errors of floating point, far below what can be seen

# Everything else in the file, the patient above all, is never looked at.
_TAGS: list[Any] = [
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "PixelPaddingValue",
    "PixelPaddingRangeLimit",
    "PixelSpacing",
    "ImagerPixelSpacing",
    "ModalityLUTSequence",
    "RescaleSlope",
    "RescaleIntercept",
    "VOILUTSequence",
    "VOILUTFunction",
    "WindowCenter",
    "WindowWidth",
    "ExtendedOffsetTable",
    "ExtendedOffsetTableLengths",
    "PixelData",
]


def read_dicom(path: Path) -> tuple[np.ndarray, tuple[float, float] | None]:
    """Reads a grey single-frame DICOM (CR, DX, SC) of any transfer syntax that pydicom's plugins decode.

    The order is that of DICOM PS3.4 N.2.1: modality LUT or rescale, then VOI LUT or window (the first, if there are
    several; a LUT before a window), then MONOCHROME1 inversion, then scaling to the full range of the output. All of it
    happens on a table of every possible stored value, so an image costs one look-up per pixel. Without VOI the range is
    that of the image's own pixels. Pixel padding is background: left out of that range, and black at the end.

    Presentation LUT Shape is not applied: CR and DX demand INVERSE for MONOCHROME1 and IDENTITY for MONOCHROME2, so it
    repeats the polarity and applying both would undo it. Overlays, also those hidden in unused bits, are left out.

    Args:
        path: DICOM file with preamble.

    Returns:
        Pixels [H, W], bone bright, uint8 where at most 8 bits are stored, else uint16, black to white over the full
        range; and the (row, column) spacing in mm from Pixel Spacing, else from Imager Pixel Spacing, else None.

    Raises:
        DataError: colour, several frames, no pixel data, no or absurd size, unsupported depth, constant pixels.

    Note:
        On damaged files pydicom and its decoders raise errors of many kinds, which `read_radiograph` makes DataErrors.

    Example:
        >>> pixels, spacing = read_dicom(Path("chest.dcm"))
    """
    header = dcmread(path, specific_tags=_TAGS)
    _check(header, path)
    # The table knows which bits count, so the pixels stay a view on the file's bytes.
    codes = pixel_array(header, index=0, view_only=True, correct_unused_bits=False)
    codes = codes.astype(codes.dtype.newbyteorder("="), copy=False).view(f"u{codes.itemsize}")
    return cv2.LUT(codes, _grey_table(header, codes, path)), _spacing(header)


def _check(header: Dataset, path: Path) -> None:
    """Refuses what is no single grey radiograph, before anything is decoded."""
    if not header.get("PixelData"):
        raise DataError(f"{path}: the DICOM file holds no pixel data or is cut short")
    photometric = header.get("PhotometricInterpretation", "missing")
    if header.get("SamplesPerPixel", 1) != 1 or photometric not in ("MONOCHROME1", "MONOCHROME2"):
        raise DataError(f"{path}: not a grey DICOM, its photometric interpretation is {photometric}")
    if (frames := int(header.get("NumberOfFrames") or 1)) > 1:
        raise DataError(f"{path}: DICOM with {frames} frames, a single radiograph is needed")
    if header.BitsAllocated not in (8, 16):
        raise DataError(f"{path}: DICOM with {header.BitsAllocated} bits a pixel, only 8 and 16 are supported")
    check_image_size(path, header.Rows, header.Columns)


def _grey_table(header: Dataset, codes: np.ndarray, path: Path) -> np.ndarray:
    """Grey value of every code a pixel can hold, [2**BitsAllocated]; codes are the pixels as unsigned integers."""
    stored, place = _stored_values(header), _meant_bits(header)
    padding = _is_padding(stored, header)
    shade = apply_modality_lut(stored, header)
    if _has_voi_lut(header) or _has_window(header):
        shade = _apply_voi(shade, header)
        low, high = float(shade.min()), float(shade.max())
    else:
        low, high = _image_range(shade, padding, codes, place)
    if low == high:
        raise DataError(f"{path}: every pixel has the same value")
    above_black = high - shade if header.PhotometricInterpretation == "MONOCHROME1" else shade - low
    grey = np.clip(above_black / (high - low), 0, 1)
    grey[padding] = 0
    dtype = np.uint8 if header.BitsStored <= 8 else np.uint16
    # Halves are made exact first: what is one in MONOCHROME1 may miss it by a last digit in MONOCHROME2.
    return np.rint(np.round(grey * np.iinfo(dtype).max, _DIGITS)).astype(dtype)[place]


def _stored_values(header: Dataset) -> np.ndarray:
    """Every stored value (int32) in the order of its bits, with its sign (PS3.5 section 8.1.1)."""
    bits = int(header.BitsStored)
    values = np.arange(2 ** min(bits, header.BitsAllocated), dtype=np.int32)
    if header.PixelRepresentation == 1:
        values[values >= 2 ** (bits - 1)] -= 2**bits
    return values


def _meant_bits(header: Dataset) -> np.ndarray:
    """The meaningful bits alone of each code, which are the place of its value among the stored ones."""
    bits = int(header.BitsStored)
    shift = int(header.get("HighBit", bits - 1)) + 1 - bits
    return (np.arange(2**header.BitsAllocated, dtype=np.int32) >> max(shift, 0)) & (2**bits - 1)


def _image_range(shade: np.ndarray, padding: np.ndarray, codes: np.ndarray, place: np.ndarray) -> tuple[float, float]:
    """Lowest and highest shade of the pixels that are no padding; twice 0 where all are.

    Codes are mostly in the order of their shades: then their ends are those of the range, and need not be counted.
    """
    first, last = (int(code) for code in cv2.minMaxLoc(codes)[:2])
    ends, between = place[[first, last]], shade[place[first : last + 1]]
    low, high = float(between.min()), float(between.max())
    if {low, high} == set(shade[ends].tolist()) and not padding[ends].any():
        return low, high
    histogram = cv2.calcHist([codes], [0], None, [place.size], [0, place.size]).ravel()
    used = place[histogram > 0]
    counted = shade[used[~padding[used]]]
    return (float(counted.min()), float(counted.max())) if counted.size else (0.0, 0.0)


def _is_padding(stored: np.ndarray, header: Dataset) -> np.ndarray:
    """Which stored values fill up the frame, from Pixel Padding Value to its Range Limit (PS3.3 C.7.5.1.1.2)."""
    first = header.get("PixelPaddingValue")
    if first is None:
        return np.zeros(stored.shape, dtype=bool)
    last = header.get("PixelPaddingRangeLimit")
    low, high = sorted((first, first if last is None else last))
    return (stored >= low) & (stored <= high)


def _has_voi_lut(header: Dataset) -> bool:
    sequence = header.get("VOILUTSequence")
    return bool(sequence) and "LUTDescriptor" in sequence[0] and bool(sequence[0].get("LUTData"))


def _has_window(header: Dataset) -> bool:
    """A window of width 0 shows nothing; as in viewers it counts as none."""
    widths = header.get("WindowWidth")
    width = widths[0] if isinstance(widths, MutableSequence) else widths
    return header.get("WindowCenter") is not None and float(width or 0) > 0


def _apply_voi(shade: np.ndarray, header: Dataset) -> np.ndarray:
    """The VOI step on modality values, through a data set that holds nothing else.

    Told about the modality step, pydicom would span the window over the rescaled range of stored values, which runs
    backwards for a negative slope and turns the polarity round.
    """
    voi = Dataset()
    voi.file_meta = header.file_meta
    voi.PhotometricInterpretation, voi.BitsStored, voi.PixelRepresentation = "MONOCHROME2", 16, 0
    if not _has_voi_lut(header):
        voi.WindowCenter, voi.WindowWidth = header.WindowCenter, header.WindowWidth
        voi.VOILUTFunction = header.get("VOILUTFunction") or "LINEAR"
        with np.errstate(over="ignore"):  # far from its centre a steep sigmoid is 0
            return apply_voi_lut(shade, voi)
    item = header.VOILUTSequence[0]
    # pydicom indexes 8-bit LUTs with 8-bit numbers, wrong for more than 256 entries; entries of 16 bits hold the same.
    item.LUTDescriptor = [*item.LUTDescriptor[:2], 16]
    voi.VOILUTSequence = [item]
    return apply_voi_lut(np.rint(shade).astype(np.int32), voi)


def _spacing(header: Dataset) -> tuple[float, float] | None:
    for name in ("PixelSpacing", "ImagerPixelSpacing"):
        value = header.get(name)
        if value is not None and len(value) == 2 and min(value) > 0:
            return float(value[0]), float(value[1])
    return None
