"""What an image file is, told by its content."""

from __future__ import annotations

from pathlib import Path

from bundle.data.errors import DataError

__all__ = ["file_kind", "holds_gzip", "holds_nifti1", "holds_nifti2"]


def file_kind(path: Path) -> str:
    """File type by its first bytes: hospital DICOMs have no extension and many a JPEG has a wrong one.

    Args:
        path: the file.

    Returns:
        "DICOM", "PNG", "JPEG" or "NIfTI"; the last also for any gzip file, whose content is not looked into.

    Raises:
        DataError: no such file, it can't be read, or it is none of these.

    Example:
        >>> file_kind(Path("scans/IM0001"))  # doctest: +SKIP
        'DICOM'
    """
    try:
        with path.open("rb") as file:
            head = file.read(352)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except OSError as error:
        raise DataError(f"{path}: can't be read ({error.strerror})") from error
    if head[128:132] == b"DICM":
        return "DICOM"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if head.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if holds_gzip(head) or holds_nifti1(head) or holds_nifti2(head):
        return "NIfTI"
    raise DataError(f"{path}: not a DICOM, PNG, JPEG or NIfTI file")


def holds_gzip(head: bytes) -> bool:
    """Whether a file with this beginning is compressed with gzip."""
    return head.startswith(b"\x1f\x8b")


def holds_nifti1(head: bytes) -> bool:
    """Whether a beginning of 348 bytes or more is a header of NIfTI-1 in one file."""
    return head[344:348] == b"n+1\0"


def holds_nifti2(head: bytes) -> bool:
    """Whether a beginning of 8 bytes or more is a header of NIfTI-2 in one file."""
    return head[4:8] == b"n+2\0"
