"""A data list made by the command, in process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from scripts.prepare import main


def prepared(name: str, root: Path, out: Path, *options: str) -> dict[str, Any]:
    """The list that `python -m scripts.prepare NAME --root ROOT --out OUT OPTIONS` writes."""
    assert main([name, "--root", str(root), "--out", str(out), *options]) == 0
    datalist: dict[str, Any] = json.loads((out / "datalist.json").read_text())
    return datalist
