"""Radiographs and segmentations of a DICOMweb server as files that MONAI Label works on, and annotations back again.

MONAI Label's own conversions read radiographs without their window and write segmentations with a tool that asks for
the position of the patient, which a projection has not.
"""

from __future__ import annotations

import io
import json
import logging
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from pydicom import dcmread

from bundle.data.dicom_seg import DicomSegFiles
from bundle.data.errors import DataError
from bundle.data.mask_reader import read_mask, split_classes
from bundle.data.nifti_geometry import like_nifti
from bundle.data.radiograph_reader import read_radiograph

__all__ = ["CONFIGS", "SegFiles", "film_as_nifti", "segmentation_as_nifti"]

CONFIGS = Path("configs")
"""Of a bundle, below its folder."""

_WHITE = np.iinfo(np.uint16).max

logger = logging.getLogger(__name__)


class SegFiles:
    """Writes label maps of a DICOM radiograph as DICOM SEG, by the classes and codes of a bundle.

    Args:
        bundle: its folder, with `configs/inference.json` and `configs/metadata.json`.

    Attributes:
        classes: the names of the classes; number k of a label map is the k-th, counted from 1.
    """

    def __init__(self, bundle: Path) -> None:
        config = _read(bundle / CONFIGS / "inference.json")
        version = _read(bundle / CONFIGS / "metadata.json")["version"]
        self.classes: list[str] = config["classes"]
        self._files = DicomSegFiles(self.classes, config["segment_codes"], version)

    def of_answer(self, series: str | Path, label: str | Path) -> str:
        """What the network has found.

        Args:
            series: folder with the one DICOM file of the radiograph.
            label: its label map as PNG or NIfTI, of the radiograph's size.

        Returns:
            Path of a new temporary file.

        Raises:
            DataError: the series holds several images, or the label can't be read or is not of this image.
        """
        return _temporary(self._encoded(series, label), ".dcm")

    def of_annotation(self, series: str | Path, label: str | Path) -> str:
        """What a person has drawn or corrected, and is marked so: its algorithm type is SEMIAUTOMATIC.

        Args:
            series: as in `of_answer`.
            label: as in `of_answer`; empty ones are segmentations, too: nothing is to be seen.

        Returns:
            Path of a new temporary file.

        Raises:
            DataError: as in `of_answer`.
        """
        made = dcmread(io.BytesIO(self._encoded(series, label)))
        for segment in made.SegmentSequence:
            segment.SegmentAlgorithmType = "SEMIAUTOMATIC"
        made.SeriesDescription = "Annotation"
        buffer = io.BytesIO()
        made.save_as(buffer)
        return _temporary(buffer.getvalue(), ".dcm")

    def _encoded(self, series: str | Path, label: str | Path) -> bytes:
        source = _only_file(Path(series))
        values = read_mask(label)
        header = dcmread(source, specific_tags=["Rows", "Columns"])
        if values.shape != (header.Rows, header.Columns):
            raise DataError(
                f"the label has {values.shape[0]} x {values.shape[1]} pixels, but the image {header.Rows} x "
                f"{header.Columns} (rows x columns)"
            )
        numbers = np.arange(1, len(self.classes) + 1, dtype=np.uint8)[:, None, None]
        label_map = (split_classes(values, self.classes, "the label") * numbers).max(0)
        return self._files(source, label_map, None, None)[".seg.dcm"]


def film_as_nifti(series: str | Path) -> str:
    """The radiograph of a series as a one-slice NIfTI, with window, VOI LUT and polarity applied: bone is bright.

    Its pixels are those of `read_radiograph`. Where the film leaves a part of 16 bits unused, which reading the NIfTI
    would stretch, they are kept in 8 bits, which it does not.

    Args:
        series: folder with the one DICOM file of the radiograph.

    Returns:
        Path of a new temporary file, `.nii.gz`.

    Raises:
        DataError: the series holds several images or one that can't be read.
    """
    radiograph = read_radiograph(_only_file(Path(series)))
    pixels = radiograph.pixels
    if pixels.dtype == np.uint16 and (pixels.min() > 0 or pixels.max() < _WHITE):
        pixels = np.rint(pixels / (_WHITE // 255)).astype(np.uint8)
    row, column = radiograph.spacing or (1.0, 1.0)
    image = nibabel.Nifti1Image(pixels.T[..., None], np.diag([-column, -row, 1, 1]))
    if radiograph.spacing is not None:
        image.header.set_xyzt_units("mm")
    path = _temporary(b"", ".nii.gz")
    image.to_filename(path)
    return path


def segmentation_as_nifti(folder: str | Path, classes: list[str], images: Path) -> str | None:
    """A DICOM SEG as the label map of a radiograph, or none where it shows something else than the classes.

    A server holds segmentations of many makers; nothing may be learnt from those of other things.

    Args:
        folder: with the one file of the segmentation.
        classes: names that its segments must have, in any order.
        images: folder that holds the radiograph of each series as `SERIES.nii.gz`.

    Returns:
        Path of a new temporary file, `.nii.gz`, that lies where the radiograph does, or none.

    Raises:
        DataError: the folder holds several files.
    """
    # A second that who works on a folder of images need not wait for.
    from highdicom.seg import segread

    path = _only_file(Path(folder))
    try:
        segmentation = segread(path)
        names = [segment.SegmentLabel for segment in segmentation.SegmentSequence]
        (source,) = segmentation.get_source_image_uids()
        masks = segmentation.get_pixels_by_source_instance([source[2]])[0] > 0
    except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
        logger.warning("segmentation %s is left out: it is of no single radiograph (%s)", path.parent.name, error)
        return None
    if unknown := [name for name in names if name not in classes]:
        logger.warning("segmentation %s is left out: the model has no class '%s'", path.parent.name, unknown[0])
        return None
    numbers = np.array([classes.index(name) + 1 for name in names], dtype=np.uint8)
    series = segmentation.ReferencedSeriesSequence[0].SeriesInstanceUID
    header = nibabel.Nifti1Image.from_filename(images / f"{series}.nii.gz").header
    label = _temporary(b"", ".nii.gz")
    nibabel.Nifti1Image.from_bytes(like_nifti((masks * numbers).max(-1).T[..., None], header)).to_filename(label)
    return label


def _only_file(series: Path) -> Path:
    files = sorted(path for path in series.iterdir() if path.is_file())
    if len(files) != 1:
        raise DataError(
            f"series {series.name} holds {len(files)} images, and MONAI Label takes a series for one image: annotate "
            "these from a folder"
        )
    return files[0]


def _temporary(content: bytes, suffix: str) -> str:
    with tempfile.NamedTemporaryFile(suffix=suffix, delete=False) as file:
        file.write(content)
    return file.name


def _read(path: Path) -> Mapping[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))
