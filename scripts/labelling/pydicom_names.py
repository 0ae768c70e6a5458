"""A name that pydicom-seg looks for and pydicom 3 has moved."""

from __future__ import annotations

import sys
from types import ModuleType

from pydicom.uid import SegmentationStorage

__all__ = ["restore_pydicom_names"]

_MODULE = "pydicom._storage_sopclass_uids"


def restore_pydicom_names() -> None:
    """Let pydicom-seg 0.4.1 be imported under pydicom 3.

    MONAI Label imports pydicom-seg when it starts, and the reader of this bundle needs pydicom 3. All that pydicom-seg
    takes from the module that is gone is the UID of segmentations, now in `pydicom.uid`.
    """
    if _MODULE not in sys.modules:
        module = ModuleType(_MODULE)
        module.__dict__["SegmentationStorage"] = SegmentationStorage
        sys.modules[_MODULE] = module
