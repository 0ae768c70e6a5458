"""Values of a NIfTI file that holds one radiograph or its mask, upright."""

from __future__ import annotations

import gzip
import math
from pathlib import Path

import nibabel
import numpy as np

from bundle.data.errors import DataError
from bundle.data.file_kind import holds_gzip, holds_nifti1, holds_nifti2
from bundle.data.image_size import check_image_size

__all__ = ["read_nifti"]

_HEAD = 352  # bytes that tell the version of the format


def read_nifti(path: Path) -> tuple[np.ndarray, tuple[float, float] | None]:
    """Reads a NIfTI (`.nii`, `.nii.gz`; 2-D or one slice) as ITK, MONAI and MONAI Label write radiographs and masks.

    The first axis runs right and the second down, so the array is transposed. The signs in the affine are ignored:
    writers flip them for a patient space that a projection doesn't have.

    Args:
        path: the file, also compressed.

    Returns:
        Values [H, W] as the header scales them, row 0 at the top; and the (row, column) spacing in mm, None where the
        unit isn't mm.

    Raises:
        DataError: no NIfTI, a volume, no pixels, more than 80 megapixels, colour or complex values.

    Note:
        On damaged files nibabel and gzip raise errors of many kinds, which callers make DataErrors.

    Example:
        >>> values, spacing = read_nifti(Path("chest.nii.gz"))
    """
    with path.open("rb") as file:
        stream = gzip.GzipFile(fileobj=file) if holds_gzip(file.peek(2)) else file
        head = stream.read(_HEAD)
        if not (holds_nifti1(head) or holds_nifti2(head)):
            raise DataError(f"{path}: a gzip file that holds no NIfTI")
        stream.seek(0)
        header_class = nibabel.Nifti1Header if holds_nifti1(head) else nibabel.Nifti2Header
        header = header_class.from_fileobj(stream)
        shape = header.get_data_shape()
        if len(shape) < 2 or math.prod(shape[2:]) > 1:
            raise DataError(f"{path}: NIfTI of shape {shape}, one 2-D radiograph is needed")
        check_image_size(path, shape[1], shape[0])
        values = header.data_from_fileobj(stream).reshape(shape[:2]).T
    if values.dtype.names or np.iscomplexobj(values):
        raise DataError(f"{path}: NIfTI of colour or complex values, a grey radiograph is needed")
    columns, rows = (float(zoom) for zoom in header.get_zooms()[:2])
    return values, (rows, columns) if header.get_xyzt_units()[0] == "mm" else None
