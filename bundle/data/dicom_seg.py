"""Label maps as DICOM segmentations, which archives and viewers keep beside the radiograph that they belong to."""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import Dataset, dcmread
from pydicom.config import disable_value_validation
from pydicom.uid import generate_uid

from bundle.data.errors import DataError
from bundle.data.file_kind import file_kind

__all__ = ["DicomSegFiles"]

_MAKER = "CXR vision-language bundle"
_SERIES_NUMBER = 900  # behind those of the devices
_MAYBE_EMPTY = (  # must be there, and are left out by many who take names away
    "AccessionNumber",
    "PatientBirthDate",
    "PatientID",
    "PatientName",
    "PatientSex",
    "StudyDate",
    "StudyID",
    "StudyTime",
)


class DicomSegFiles:
    """DICOM SEG of a DICOM radiograph: one binary segment a class; probabilities are a fractional one.

    The segmentation belongs to the patient and the study of its radiograph and holds their identifiers, as that does.

    Args:
        classes: the K class names.
        codes: for each class its SNOMED CT codes, `[category value, category meaning, type value, type meaning]`.
        version: of the model, for whoever asks what made the segmentation.

    Raises:
        DataError: a class has no codes.

    Example:
        >>> codes = {"lung": ["123037004", "Anatomical Structure", "39607008", "Lung"]}
        >>> files = DicomSegFiles(["lung"], codes, "0.1.0")
    """

    def __init__(self, classes: Sequence[str], codes: Mapping[str, Sequence[str]], version: str) -> None:
        if without := [name for name in classes if name not in codes]:
            raise DataError(
                f"DICOM SEG needs codes of every class, and '{without[0]}' has none: give its SNOMED CT category and "
                "type, such as --segment_codes#lung \"['123037004','Anatomical Structure','39607008','Lung']\""
            )
        self.classes = list(classes)
        self.codes = codes
        self.version = version

    def __call__(
        self,
        source: Path,
        label_map: np.ndarray,
        probabilities: np.ndarray | None,
        spacing: tuple[float, float] | None,
    ) -> dict[str, bytes]:
        """Encode.

        Args:
            source: the radiograph, a DICOM file.
            label_map: uint8 [H, W].
            probabilities: float32 [K, H, W] in [0, 1], or none.
            spacing: not used: the radiograph's own header has it.

        Returns:
            Contents by what comes behind the image's name: `.seg.dcm`, `.probabilities.dcm`.

        Raises:
            DataError: the image is no DICOM file, or its header lacks what a segmentation must repeat.
        """
        if file_kind(source) != "DICOM":
            raise DataError(f"{source}: a DICOM SEG needs a DICOM radiograph; choose the output format png or nifti")
        # What they warn about they show, names of patients too, and nothing of it can be mended here.
        with warnings.catch_warnings(), disable_value_validation():
            warnings.simplefilter("ignore")
            return self._files(source, label_map, probabilities)

    def _files(self, source: Path, label_map: np.ndarray, probabilities: np.ndarray | None) -> dict[str, bytes]:
        header = dcmread(source, stop_before_pixels=True)
        # highdicom would repeat it, but reads it back only beside a slice thickness, which a projection has not. The
        # segmentation has the pixels of its radiograph, whose header tells.
        header.pop("PixelSpacing", None)
        for name in _MAYBE_EMPTY:
            header.setdefault(name, "")
        masks = label_map[..., None] == np.arange(1, len(self.classes) + 1)
        files = {".seg.dcm": self._segmentation(header, masks, "BINARY", source)}
        if probabilities is not None:
            files[".probabilities.dcm"] = self._segmentation(
                header, np.moveaxis(probabilities, 0, -1), "FRACTIONAL", source
            )
        return files

    def _segmentation(self, header: Dataset, values: np.ndarray, kind: str, source: Path) -> bytes:
        """A file of values [H, W, K], bool or in [0, 1]."""
        # A second that the other formats need not wait for.
        from highdicom.seg import Segmentation

        try:
            made = Segmentation(
                source_images=[header],
                pixel_array=values[None],
                segmentation_type=kind,
                segment_descriptions=[self._description(number, name) for number, name in enumerate(self.classes, 1)],
                series_instance_uid=generate_uid(),
                series_number=_SERIES_NUMBER,
                sop_instance_uid=generate_uid(),
                instance_number=1,
                manufacturer=_MAKER,
                manufacturer_model_name=_MAKER,
                software_versions=self.version,
                device_serial_number="0",
                omit_empty_frames=False,  # a radiograph without a finding has a segmentation, too
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            reason = " ".join(str(error).split())
            raise DataError(f"{source}: no DICOM SEG can refer to this radiograph ({reason})") from error
        buffer = io.BytesIO()
        made.save_as(buffer)
        return buffer.getvalue()

    def _description(self, number: int, name: str) -> Any:
        from highdicom import AlgorithmIdentificationSequence
        from highdicom.seg import SegmentDescription
        from pydicom.sr.codedict import codes
        from pydicom.sr.coding import Code

        category, category_meaning, kind, meaning = self.codes[name]
        return SegmentDescription(
            segment_number=number,
            segment_label=name,
            segmented_property_category=Code(category, "SCT", category_meaning),
            segmented_property_type=Code(kind, "SCT", meaning),
            algorithm_type="AUTOMATIC",
            algorithm_identification=AlgorithmIdentificationSequence(
                name=_MAKER, family=codes.DCM.ArtificialIntelligence, version=self.version
            ),
        )
