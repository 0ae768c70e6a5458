"""Images in one folder a class, with or without a folder a split above."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from bundle.data.errors import DataError
from scripts.preparing.given_split import SPLIT_NAMES
from scripts.preparing.record import Record

__all__ = ["FolderImage", "find_folder_images"]

_ENDINGS = (".png", ".jpg", ".jpeg", ".dcm", ".dicom", ".nii", ".nii.gz")
_DICOM_MARK = slice(128, 132)


class FolderImage(NamedTuple):
    """An image file.

    Attributes:
        path: below the root, with forward slashes.
        label: name of its class, the folder.
        split: `training`, `validation` or `test`; None where the folders name none.
    """

    path: str
    label: str
    split: str | None


def find_folder_images(root: Path, record: Record) -> list[FolderImage]:
    """Find `root/CLASS/...` or `root/SPLIT/CLASS/...`, SPLIT being train, val or test, in any case and to any depth.

    What is an image is told by the name's ending in any case (PNG, JPEG, DICOM, NIfTI), and of files without a known
    ending, as DICOM files often are, by their content.

    Args:
        root: the folder.
        record: counts the files that are no images or lie in no folder of a class.

    Returns:
        The images, sorted by path.

    Raises:
        DataError: there is no such folder, it holds folders of both kinds, two folders' names differ in case only, or
            no image is found.
    """
    if not root.is_dir():
        raise DataError(f"{root}: there is no such folder; --root must hold one folder a class")
    found = [image for folder, split in _parts(root) for image in _images(root, folder, split, record)]
    if not found:
        there = ", ".join(folder.name for folder in _folders(root)) or "none"
        raise DataError(
            f"{root}: no image was found; expected are CLASS/*.png (or jpg, dcm, nii) or train/CLASS/*, val/CLASS/*, "
            f"test/CLASS/*; the folders there are: {there}"
        )
    labels = {image.label for image in found}
    by_lower = {label.lower(): label for label in sorted(labels)}
    if clashing := sorted(labels - set(by_lower.values())):
        raise DataError(
            f"{root}: the folders '{clashing[0]}' and '{by_lower[clashing[0].lower()]}' differ in case only; give them "
            "one name"
        )
    return sorted(found)


def _parts(root: Path) -> list[tuple[Path, str | None]]:
    """The folders that hold folders of classes, with their split."""
    folders = _folders(root)
    named = [(folder, SPLIT_NAMES[folder.name.lower()]) for folder in folders if folder.name.lower() in SPLIT_NAMES]
    if not named:
        return [(root, None)]
    others = [folder.name for folder in folders if folder.name.lower() not in SPLIT_NAMES]
    if others:
        raise DataError(
            f"{root}: beside folders of splits ({', '.join(folder.name for folder, _ in named)}) it holds "
            f"{', '.join(others)}; take them away, or name one folder of them with --root"
        )
    return list(named)


def _images(root: Path, folder: Path, split: str | None, record: Record) -> Iterator[FolderImage]:
    record.drop("file in no folder of a class", sum(entry.is_file() for entry in _visible(folder)))
    for label in _folders(folder):
        for place, below, files in os.walk(label):
            below[:] = [name for name in below if not _is_hidden(name)]
            for name in files:
                path = Path(place, name)
                if _is_hidden(name) or not _is_image(path):
                    record.drop("file that is no image")
                else:
                    yield FolderImage(path.relative_to(root).as_posix(), label.name, split)


def _folders(folder: Path) -> list[Path]:
    return [Path(entry) for entry in _visible(folder) if entry.is_dir()]


def _visible(folder: Path) -> list[os.DirEntry[str]]:
    return sorted((entry for entry in os.scandir(folder) if not _is_hidden(entry.name)), key=lambda entry: entry.name)


def _is_hidden(name: str) -> bool:
    """Whether an operating system made it, not a person: archives from a Mac are full of such."""
    return name.startswith((".", "__MACOSX"))


def _is_image(path: Path) -> bool:
    if path.name.lower().endswith(_ENDINGS):
        return True
    if path.suffix and not path.suffix[1:].isdigit():  # 1.2.840.113619 is a DICOM's name without an ending
        return False
    with path.open("rb") as file:
        return file.read(_DICOM_MARK.stop)[_DICOM_MARK] == b"DICM"
