"""Phantoms as files: PNG and DICOM that say of themselves that they are synthetic."""

from __future__ import annotations

import hashlib
import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from pydicom import Dataset
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian, generate_uid

from bundle.data.errors import DataError
from bundle.data.phantom import SYNTHETIC, Phantom

__all__ = ["write_mask_png", "write_phantom_dicom", "write_phantom_png"]

_FIELD_OF_VIEW = 400.0  # mm along a side, so that a phantom's chest is as wide as an adult's
_CHEST = ("51185008", "SCT", "Chest")


def write_phantom_png(phantom: Phantom, path: str | Path) -> None:
    """Write the image as an 8-bit grey PNG; its text chunks say that it is synthetic and name the seed.

    Args:
        phantom: to write.
        path: the file; written whole or not at all.
    """
    _write_png(phantom.image, f"seed {phantom.seed}", Path(path))


def write_mask_png(phantom: Phantom, mask: npt.NDArray[np.bool_], path: str | Path) -> None:
    """Write one of the phantom's masks as an 8-bit grey PNG, 255 inside.

    Args:
        phantom: that the mask belongs to.
        mask: bool `[S, S]`.
        path: the file; written whole or not at all.
    """
    _write_png(mask.astype(np.uint8) * 255, f"truth mask, seed {phantom.seed}", Path(path))


def write_phantom_dicom(phantom: Phantom, path: str | Path, monochrome1: bool = False, bits: int = 12) -> None:
    """Write the image as a Digital X-Ray DICOM (For Presentation, explicit little endian, uncompressed).

    The tags give no patient: name, comments and derivation say that it is synthetic, dates are empty. The UIDs follow
    from the picture, so that the same phantom gives the same file, byte for byte.

    Args:
        phantom: to write.
        path: the file; written whole or not at all.
        monochrome1: store it inverted, bone dark, as many detectors do; a reader shows the same picture.
        bits: depth that the 8-bit grey values are spread over, 8 to 16.

    Raises:
        DataError: `bits` is outside 8 to 16.
    """
    if not 8 <= bits <= 16:
        raise DataError(f"{path}: a phantom can't be stored with {bits} bits a pixel; give 8 to 16")
    dataset = Dataset()
    dataset.ensure_file_meta()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = DigitalXRayImageStorageForPresentation
    _set(dataset, _patient_tags(phantom))
    _set(dataset, _image_tags(phantom, monochrome1, bits))
    _set(dataset, _pixel_tags(phantom, monochrome1, bits))
    _replace(Path(path), _dicom_bytes(dataset))


def _write_png(pixels: npt.NDArray[np.uint8], comment: str, path: Path) -> None:
    info = PngInfo()
    info.add_text("Description", SYNTHETIC)
    info.add_text("Comment", comment)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "png", pnginfo=info)
    _replace(path, stream.getvalue())


def _replace(path: Path, content: bytes) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        partial.write_bytes(content)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _patient_tags(phantom: Phantom) -> dict[str, Any]:
    """Patient, study and series; what a real picture would tell of a person is empty."""
    return {
        "SpecificCharacterSet": "ISO_IR 192",
        "PatientName": "Phantom^Synthetic",
        "PatientID": phantom.patient,
        "PatientBirthDate": "",
        "PatientSex": "",
        "StudyInstanceUID": _uid("study", phantom.seed),
        "StudyID": str(phantom.seed),
        "StudyDate": "",
        "StudyTime": "",
        "AccessionNumber": "",
        "ReferringPhysicianName": "",
        "StudyDescription": "Synthetic phantom radiograph",
        "SeriesInstanceUID": _uid("series", phantom.seed),
        "SeriesNumber": 1,
        "Modality": "DX",
        "PresentationIntentType": "FOR PRESENTATION",
        "Manufacturer": "none (drawn by a program)",
    }


def _image_tags(phantom: Phantom, monochrome1: bool, bits: int) -> dict[str, Any]:
    """The picture's identity and geometry."""
    size = len(phantom.image)
    spacing = [round(_FIELD_OF_VIEW / size, 6)] * 2
    content = hashlib.sha256(phantom.image.tobytes()).hexdigest()
    return {
        "SOPInstanceUID": _uid("image", phantom.seed, content, monochrome1, bits),
        "InstanceNumber": 1,
        "ImageType": ["DERIVED", "PRIMARY"],
        "ImageComments": SYNTHETIC,
        "DerivationDescription": SYNTHETIC,
        "BodyPartExamined": "CHEST",
        "AnatomicRegionSequence": [_code(*_CHEST)],
        "AcquisitionContextSequence": [],
        "ViewPosition": phantom.view,
        "ImageLaterality": "U",
        "PatientOrientation": ["L", "F"],  # rows run to the patient's left, columns to the feet
        "BurnedInAnnotation": "NO",
        "LossyImageCompression": "00",
        "DetectorType": "",
        "ImagerPixelSpacing": spacing,
        "PixelSpacing": spacing,
    }


def _pixel_tags(phantom: Phantom, monochrome1: bool, bits: int) -> dict[str, Any]:
    """The stored values and how to show them."""
    white = 2**bits - 1
    stored = np.round(phantom.image.astype(np.float64) * white / 255).astype("<u2" if bits > 8 else np.uint8)
    return {
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME1" if monochrome1 else "MONOCHROME2",
        "PresentationLUTShape": "INVERSE" if monochrome1 else "IDENTITY",
        "Rows": len(stored),
        "Columns": len(stored),
        "BitsAllocated": 16 if bits > 8 else 8,
        "BitsStored": bits,
        "HighBit": bits - 1,
        "PixelRepresentation": 0,
        "PixelIntensityRelationship": "LOG",
        "PixelIntensityRelationshipSign": 1 if monochrome1 else -1,
        "RescaleIntercept": 0,
        "RescaleSlope": 1,
        "RescaleType": "US",
        "WindowCenter": (white + 1) / 2,
        "WindowWidth": white + 1,
        "PixelData": (white - stored if monochrome1 else stored).tobytes(),
    }


def _set(dataset: Dataset, tags: dict[str, Any]) -> None:
    for keyword, value in tags.items():
        setattr(dataset, keyword, value)


def _uid(*entropy: object) -> str:
    return str(generate_uid(entropy_srcs=["phantom radiograph", *map(str, entropy)]))


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    code = Dataset()
    _set(code, {"CodeValue": value, "CodingSchemeDesignator": scheme, "CodeMeaning": meaning})
    return code


def _dicom_bytes(dataset: Dataset) -> bytes:
    stream = io.BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()
