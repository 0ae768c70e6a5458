"""Where the pixels of a NIfTI file lie, so that a mask of them can be written to lie there, too."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import nibabel
import numpy as np

from bundle.data.file_kind import file_kind, holds_gzip, holds_nifti2

__all__ = ["like_nifti", "nifti_header", "projection_affine"]


def nifti_header(path: str | Path) -> nibabel.Nifti1Header | None:
    """The header of a NIfTI file, told by its content as `read_radiograph` does; none for files of other kinds.

    Raises:
        DataError: no such file, it can't be read, or it is no image.
    """
    path = Path(path)
    if file_kind(path) != "NIfTI":
        return None
    with path.open("rb") as file:
        stream: Any = gzip.GzipFile(fileobj=file) if holds_gzip(file.peek(2)) else file
        head = stream.read(8)
        stream.seek(0)
        kind = nibabel.Nifti2Header if holds_nifti2(head) else nibabel.Nifti1Header
        return kind.from_fileobj(stream)


def projection_affine(spacing: tuple[float, float]) -> np.ndarray:
    """Where ITK puts a projection, whose file tells no place: from the origin to the left and to the front.

    ITK's axes run left to right and front to back, NIfTI's the other way; MONAI and MONAI Label write by NIfTI's.

    Args:
        spacing: (row, column) distance of pixels in mm.

    Returns:
        float64 [4, 4], of an array [W, H, 1].

    Example:
        >>> projection_affine((0.2, 0.3)).diagonal().tolist()
        [-0.3, -0.2, 1.0, 1.0]
    """
    rows, columns = spacing
    return np.diag([-columns, -rows, 1.0, 1.0])


def like_nifti(values: np.ndarray, header: nibabel.Nifti1Header) -> bytes:
    """A NIfTI file, not compressed, whose pixels lie where those of another one do.

    Args:
        values: [W, H, ...] in the axes of the file.
        header: that of the other file; affine, units, intent of its axes and version are kept, the type of its values
            and the text that it may hold are not.
    """
    kind = nibabel.Nifti2Image if isinstance(header, nibabel.Nifti2Header) else nibabel.Nifti1Image
    image = kind(values, header.get_best_affine())
    image.header.set_xyzt_units(*header.get_xyzt_units())
    image.set_qform(header.get_qform(), int(header["qform_code"]))
    image.set_sform(header.get_sform(), int(header["sform_code"]))
    image.header["pixdim"][: header["dim"][0] + 1] = header["pixdim"][: header["dim"][0] + 1]
    return image.to_bytes()
