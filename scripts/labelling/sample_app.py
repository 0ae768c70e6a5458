"""The sample app `monaibundle` of MONAI Label, which serves any bundle."""

from __future__ import annotations

import sys
from pathlib import Path

from scripts.labelling.pydicom_names import restore_pydicom_names

__all__ = ["MAIN", "load_sample_app"]

MAIN = '''"""The sample app `monaibundle` of MONAI Label, as it is."""

from scripts.labelling.sample_app import load_sample_app

MyApp = load_sample_app()
'''
"""`main.py` of an app: MONAI Label loads it in the server and in the processes that train."""


def load_sample_app() -> type:
    """The class of the app, from the files that MONAI Label has put beside its packages."""
    restore_pydicom_names()
    from monailabel.utils.others.class_utils import module_from_file

    main = Path(sys.prefix, "monailabel", "sample-apps", "monaibundle", "main.py")
    return module_from_file("monaibundle", str(main)).MyApp
