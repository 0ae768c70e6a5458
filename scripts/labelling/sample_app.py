"""The sample app `monaibundle` of MONAI Label, which serves any bundle."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

from scripts.labelling.dicom_web import replace_conversions
from scripts.labelling.pydicom_names import restore_pydicom_names

__all__ = ["load_sample_app", "main_file"]

_MAIN = '''"""The sample app `monaibundle` of MONAI Label, with the DICOM files of the bundle."""

from pathlib import Path

from scripts.labelling.sample_app import load_sample_app

MyApp = load_sample_app(Path(__file__).parent / "model" / "{name}")
'''


def main_file(name: str) -> str:
    """`main.py` of an app: MONAI Label loads it in the server and in the processes that train.

    Args:
        name: of the bundle, which is the app's folder `model/NAME`.
    """
    return _MAIN.format(name=name)


def load_sample_app(bundle: Path) -> type:
    """The class of the app, from the files that MONAI Label has put beside its packages.

    Args:
        bundle: folder of the bundle that is served.
    """
    restore_pydicom_names()
    from monailabel.utils.others.class_utils import module_from_file

    replace_conversions(bundle)
    # It tells who the patients are.
    logging.getLogger("monailabel.datastore").setLevel(logging.WARNING)
    main = Path(sys.prefix, "monailabel", "sample-apps", "monaibundle", "main.py")
    app: Any = module_from_file("monaibundle", str(main)).MyApp
    # Its DICOMweb store would fetch from the internet a tool that it no longer needs.
    app._download_dcmqi_tools = lambda self: None
    return app
