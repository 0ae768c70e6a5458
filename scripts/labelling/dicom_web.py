"""MONAI Label over a DICOMweb server, with the conversions of this bundle in place of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from scripts.labelling.dicom_files import SegFiles, film_as_nifti, segmentation_as_nifti

__all__ = ["replace_conversions"]


def replace_conversions(bundle: Path) -> None:
    """Let MONAI Label fetch radiographs, keep annotations and answer in DICOM SEG by `dicom_files`.

    Args:
        bundle: folder of the bundle that is served.

    Raises:
        DataError: a class of the bundle has no codes for DICOM SEG.
    """
    from monailabel.datastore import dicom
    from monailabel.endpoints import infer

    segs = SegFiles(bundle)

    def dicom_to_nifti(series_dir: str, is_seg: bool = False) -> str | None:
        if is_seg:  # in CACHE/labels/final/SERIES, and the images are CACHE/SERIES.nii.gz
            return segmentation_as_nifti(series_dir, segs.classes, Path(series_dir).parents[2])
        return film_as_nifti(series_dir)

    def annotation_to_dicom_seg(series_dir: str, label: str, label_info: Any) -> str:
        return segs.of_annotation(series_dir, label)

    def answer_to_dicom_seg(series_dir: str, label: str, label_info: Any, use_itk: bool) -> str:
        return segs.of_answer(series_dir, label)

    dicom.dicom_to_nifti = dicom_to_nifti
    dicom.nifti_to_dicom_seg = annotation_to_dicom_seg
    infer.nifti_to_dicom_seg = answer_to_dicom_seg
