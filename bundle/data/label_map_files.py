"""Label maps as files: PNG for everyone, NIfTI for viewers that overlay them."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from pathlib import Path

import cv2
import nibabel
import numpy as np

from bundle.data.errors import DataError
from bundle.data.nifti_geometry import like_nifti, nifti_header, projection_affine

__all__ = ["NiftiFiles", "PngFiles", "Spacing", "check_format"]

Spacing = tuple[float, float] | None
"""(row, column) distance of pixels in mm, none where it is not known."""


def check_format(name: str, known: Sequence[str]) -> None:
    """Refuses a format that there is not, before any file is read.

    Args:
        name: as it was asked for.
        known: the names of those that there are.

    Raises:
        DataError: it is none of them.

    Example:
        >>> check_format("gif", ["png", "nifti"])
        Traceback (most recent call last):
        bundle.data.errors.DataError: --output_format gif: label maps are written as png or nifti
    """
    if name not in known:
        *others, last = known
        raise DataError(f"--output_format {name}: label maps are written as {', '.join(others)} or {last}")


class PngFiles:
    """PNG: pixel values are the numbers of the classes, from 1; probabilities are 16-bit pictures, one a class.

    Args:
        classes: the K class names.

    Example:
        >>> files = PngFiles(["lung"])(Path("chest.png"), np.zeros((3, 4), np.uint8), None, None)
        >>> list(files)
        ['.seg.png']
    """

    def __init__(self, classes: Sequence[str]) -> None:
        self.classes = list(classes)

    def __call__(
        self, source: Path, label_map: np.ndarray, probabilities: np.ndarray | None, spacing: Spacing
    ) -> dict[str, bytes]:
        """Encode.

        Args:
            source: the image file; not looked at.
            label_map: uint8 [H, W].
            probabilities: float32 [K, H, W] in [0, 1], or none.
            spacing: not written.

        Returns:
            Contents by what comes behind the image's name: `.seg.png`, and `.CLASS.png` for probabilities, 65535
            being 1.
        """
        files = {".seg.png": _png(label_map)}
        if probabilities is not None:
            for name, values in zip(self.classes, probabilities, strict=True):
                files[f".{name.replace('/', '_')}.png"] = _png(np.rint(values * 65535).astype(np.uint16))
        return files


class NiftiFiles:
    """NIfTI, compressed: over a NIfTI image it lies where that does, else as ITK writes radiographs.

    The array is [W, H] or, over an image of one slice and over other kinds of files, [W, H, 1]; probabilities are
    float32 with the classes as the last of five axes, [W, H, 1, 1, K].

    Args:
        classes: not written; the numbers in the map are theirs, from 1.
    """

    def __init__(self, classes: Sequence[str]) -> None:
        self.classes = list(classes)

    def __call__(
        self, source: Path, label_map: np.ndarray, probabilities: np.ndarray | None, spacing: Spacing
    ) -> dict[str, bytes]:
        """Encode.

        Args:
            source: the image file, whose place in space a NIfTI file tells.
            label_map: uint8 [H, W].
            probabilities: float32 [K, H, W] in [0, 1], or none.
            spacing: of the pixels, for images of other kinds; none: the file has pixels of 1, without a unit.

        Returns:
            Contents by what comes behind the image's name: `.seg.nii.gz`, `.probabilities.nii.gz`.

        Raises:
            DataError: the image file can't be read any more.
        """
        header = nifti_header(source)
        if header is None:
            header = _header_like_itk(label_map.shape, spacing)
        slices = header.get_data_shape()[2:]
        files = {".seg.nii.gz": _compressed(label_map.T.reshape(*label_map.shape[::-1], *slices), header)}
        if probabilities is not None:
            last = np.moveaxis(probabilities, 0, -1).swapaxes(0, 1)
            files[".probabilities.nii.gz"] = _compressed(last[:, :, None, None], header)
        return files


def _png(values: np.ndarray) -> bytes:
    # Runs of equal values and no filter: half the time of OpenCV's defaults.
    fast = [cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE, cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_NONE]
    return cv2.imencode(".png", values, [cv2.IMWRITE_PNG_COMPRESSION, 1, *fast])[1].tobytes()


def _compressed(values: np.ndarray, header: nibabel.Nifti1Header) -> bytes:
    return gzip.compress(like_nifti(values, header), compresslevel=1, mtime=0)


def _header_like_itk(size: tuple[int, int], spacing: Spacing) -> nibabel.Nifti1Header:
    """That of one slice [W, H, 1]."""
    affine = projection_affine(spacing if spacing is not None else (1.0, 1.0))
    image = nibabel.Nifti1Image(np.zeros((*size[::-1], 1), np.uint8), affine)
    image.header.set_xyzt_units("mm" if spacing is not None else "unknown")
    return image.header
