"""The folder that an annotation server works in: the app, the bundle as its model, and the weights it may change."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from bundle.data.errors import DataError
from bundle.handlers.atomic import replacing
from scripts.labelling.sample_app import main_file

__all__ = ["ROOT", "WEIGHTS", "link", "prepare_workspace", "renew_app"]

ROOT = Path(__file__).resolve().parents[2]
"""Of the repository, which is the root of the bundle."""

WEIGHTS = Path("models/model.pt")
"""Those in use, below the folder of a bundle."""

_LINKED = ("bundle", "LICENSE")


def prepare_workspace(folder: Path, name: str, weights: Path) -> Path:
    """Make or renew the app's folder; the weights that are in it already stay, for they may have been fine-tuned.

    MONAI Label takes `FOLDER/main.py` as the app and `FOLDER/model/NAME` as the bundle. The bundle's code and configs
    are links to this repository; `models/model.pt` is a copy, which training replaces, so that annotating leaves the
    repository as it is. Removing the folder goes back to the weights given here.

    Args:
        folder: the workspace.
        name: of the model, as clients see it. MONAI Label reads the kind of a model from it: a name with `detection`,
            `classification`, `deepedit` or `deepgrow` in it is refused.
        weights: what a new workspace starts with, as MONAI Label loads them: a PyTorch file with a state dict.

    Returns:
        The folder of the bundle in the workspace.

    Raises:
        DataError: the name can't be used, a new workspace has no weights to start with, or the workspace has been
            started from a pre-training run.
    """
    bundle = folder / "model" / name
    if (bundle / "configs").is_dir() and not (bundle / "configs").is_symlink():
        raise DataError(f"{folder}: this workspace began with --start; give that again, or another --workspace")
    if not (bundle / WEIGHTS).is_file() and not weights.is_file():
        raise DataError(f"{weights}: no such weights; name the file of a segmentation network with --weights")
    renew_app(folder, name)
    link(bundle / "configs", ROOT / "configs")
    if not (bundle / WEIGHTS).is_file():
        with replacing(bundle / WEIGHTS) as partial:
            shutil.copyfile(weights, partial)
    return bundle


def renew_app(folder: Path, name: str) -> Path:
    """Make or renew what every workspace has: `main.py`, and the code of the bundle as links to this repository.

    Args:
        folder: the workspace.
        name: of the model, see `prepare_workspace`.

    Returns:
        The folder of the bundle in the workspace.

    Raises:
        DataError: the name can't be used.
    """
    if not name.isidentifier() or any(kind in name.lower() for kind in ("detection", "classification", "deep")):
        raise DataError(
            f"--name {name}: letters, digits and underscores, without the words detection, classification or deep, by "
            "which MONAI Label takes a model for one of another kind"
        )
    bundle = folder / "model" / name
    bundle.mkdir(parents=True, exist_ok=True)
    (folder / "main.py").write_text(main_file(name), encoding="utf-8")
    for part in _LINKED:
        link(bundle / part, ROOT / part)
    return bundle


def link(path: Path, target: Path) -> None:
    """Make or renew a symbolic link in one step."""
    partial = path.with_name(f".{path.name}.partial")
    partial.unlink(missing_ok=True)
    partial.symlink_to(target)
    os.replace(partial, path)
