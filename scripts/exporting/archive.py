"""The bundle as one zip file, with what belongs to it and nothing else."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from bundle.data.errors import DataError
from bundle.handlers.atomic import replacing
from bundle.handlers.revision import git_revision

__all__ = ["write_archive"]

_FOLDERS = {
    "bundle": {".py"},
    "configs": {".json", ".yaml", ".conf"},
    "docs": {".md", ".png", ".svg"},
    "models": {".pt"},
    "scripts": {".py"},
}
"""What the archive holds, and the kinds of files that belong there."""
_FILES = ("CHANGELOG.md", "LICENSE", "README.md", "constraints.txt", "metadata.json", "requirements.txt")
_MODEL = "models/model.pt"
_LARGEST = 1_000_000  # bytes of any other file
_LARGEST_MODEL = 30_000_000
_CACHES = ("__pycache__", ".ruff_cache", ".mypy_cache")
_EPOCH = (1980, 1, 1, 0, 0, 0)  # of every entry: the same files make the same archive


def write_archive(root: Path, out: Path) -> list[str]:
    """Write the archive, in which all lies in one folder of the archive's own name, as MONAI's loader expects.

    `versions.json` is added: the revision of the code, the versions of the packages it was tried with, and the hash of
    the weights.

    Args:
        root: of the bundle.
        out: the zip file.

    Returns:
        The names of its files.

    Raises:
        DataError: there is a file that does not belong into a bundle (another checkpoint, an image, a table), a part
            is missing, or the environment is not of the versions that the metadata name.
    """
    if out.suffix != ".zip":
        raise DataError(f"{out}: an archive's name ends in .zip")
    files = {name: (root / name).read_bytes() for name in sorted(_collected(root))}
    files["versions.json"] = _stamp(root, files[_MODEL])
    with replacing(out) as partial, zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(f"{out.stem}/{name}", _EPOCH), content, zipfile.ZIP_DEFLATED)
    return list(files)


def _collected(root: Path) -> Iterator[str]:
    for name in (*_FILES, _MODEL):
        if not (root / name).is_file():
            raise DataError(f"{root / name}: a bundle needs this file, and it is not there")
    yield from _FILES
    for folder, kinds in _FOLDERS.items():
        for path in (root / folder).rglob("*"):
            if path.is_file() and not set(_CACHES) & set(path.parts):
                _check(path, path.relative_to(root).as_posix(), kinds)
                yield path.relative_to(root).as_posix()


def _check(path: Path, name: str, kinds: set[str]) -> None:
    """Refuses what was left lying in a folder of the bundle."""
    if path.is_symlink():
        raise DataError(f"{path}: archives break links; put the file itself here")
    if path.suffix not in kinds or (name.startswith("models/") and name != _MODEL):
        raise DataError(f"{path}: this file is no part of a bundle; move it elsewhere")
    if (size := path.stat().st_size) > (_LARGEST_MODEL if name == _MODEL else _LARGEST):
        raise DataError(f"{path}: {size / 1e6:.1f} MB are too many for a file of a bundle; move it elsewhere")


def _stamp(root: Path, model: bytes) -> bytes:
    metadata = json.loads((root / "configs" / "metadata.json").read_text(encoding="utf-8"))
    packages = _named_versions(metadata)
    for name, named in packages.items():
        if (here := _installed(name)) != named:
            raise DataError(f"{root / 'configs/metadata.json'}: it names {name} {named}, but {here} is installed here")
    stamp = {
        "version": metadata["version"],
        "git": git_revision(root),
        "packages": packages,
        "model_sha256": hashlib.sha256(model).hexdigest(),
    }
    return (json.dumps(stamp, indent=2) + "\n").encode()


def _named_versions(metadata: Mapping[str, Any]) -> dict[str, str]:
    base = {"monai": "monai_version", "torch": "pytorch_version", "numpy": "numpy_version"}
    return {name: metadata[key] for name, key in base.items()} | metadata["required_packages_version"]


def _installed(name: str) -> str | None:
    try:
        return version(name).split("+")[0]
    except PackageNotFoundError:
        return None
