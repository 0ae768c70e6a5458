"""Small DICOM files with chosen codes and tags."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

DX = "1.2.840.10008.5.1.4.1.1.1.1"


def make_dicom(codes: Any, bits: int = 12, syntax: str = ExplicitVRLittleEndian, **tags: Any) -> Dataset:
    """A DX data set of unsigned MONOCHROME2 pixels [H, W]; tags replace what it holds."""
    codes = np.asarray(codes)
    allocated = 8 if bits <= 8 else 16
    header = Dataset()
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = syntax
    header.SOPClassUID, header.SOPInstanceUID, header.Modality = DX, "1.2.3.4", "DX"
    header.PatientName, header.PatientID = "Secret^Sally", "MRN-4711"
    header.SamplesPerPixel, header.PhotometricInterpretation = 1, "MONOCHROME2"
    header.Rows, header.Columns = codes.shape[:2]
    header.BitsAllocated, header.BitsStored, header.HighBit, header.PixelRepresentation = allocated, bits, bits - 1, 0
    for name, value in tags.items():
        setattr(header, name, value)
    header.PixelData = codes.astype(f"<u{header.BitsAllocated // 8}").tobytes()
    header["PixelData"].VR = "OB" if header.BitsAllocated == 8 else "OW"
    return header


def write_dicom(path: Path, codes: Any, bits: int = 12, **tags: Any) -> Path:
    make_dicom(codes, bits, **tags).save_as(path, enforce_file_format=True)
    return path


def make_lut(entries: list[int], first: int, depth: int, vr: str = "US") -> Dataset:
    """One item of a modality or VOI LUT sequence; `vr` is that of its data."""
    item = Dataset()
    item.add_new("LUTDescriptor", "US" if first >= 0 else "SS", [len(entries) % 65536, first, depth])
    item.add_new("LUTData", vr, entries if vr == "US" else np.asarray(entries, dtype="<u2").tobytes())
    return item
