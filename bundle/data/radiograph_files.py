"""The radiographs of a folder or of a data list, and a data set that passes by those that can't be used."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch.utils.data import IterableDataset
from tqdm import tqdm

from bundle.data.datalist import load_splits, read_datalist
from bundle.data.errors import DataError
from bundle.data.failures import Failures
from bundle.data.file_kind import file_kind

__all__ = ["UsableFiles", "find_radiographs"]

_ENDINGS = (".dcm", ".dicom", ".png", ".jpg", ".jpeg", ".nii", ".nii.gz")


def find_radiographs(
    source: str | os.PathLike[str], outputs: str | os.PathLike[str] | None = None
) -> list[dict[str, str]]:
    """The images of a folder with all below it, of a data list, or one image.

    Of a folder it takes files that are DICOM, PNG, JPEG or NIfTI by their content, and those that are named so, which
    are an error for whoever reads them. Hidden files and DICOMDIR are left out.

    Args:
        source: a folder; a data list (`.json`), of which all splits are taken; or an image file.
        outputs: a folder, perhaps in the other one, that results of an earlier run may be in: left out.

    Returns:
        For each `image` (its path) and `name` (its path below the folder, `/` between parts; its own name for one
        image; the item's `id` for a list), in the order of names; that of the list.

    Raises:
        DataError: no such folder or file, no image in it, or an unusable list.

    Example:
        >>> find_radiographs("films")  # doctest: +SKIP
        [{'image': 'films/a.dcm', 'name': 'a.dcm'}, {'image': 'films/b/1.png', 'name': 'b/1.png'}]
    """
    source = Path(source)
    if source.is_dir():
        results = None if outputs is None else Path(outputs).resolve()
        files = (path for path in sorted(source.rglob("*")) if results not in path.resolve().parents)
        found = [path for path in files if _is_radiograph(path, source)]
        items = [{"image": str(path), "name": path.relative_to(source).as_posix()} for path in found]
    elif source.suffix == ".json" and source.is_file():
        items = _of_list(source)
    elif source.is_file():
        items = [{"image": str(source), "name": source.name}]
    else:
        raise DataError(f"{source}: no such folder, data list or image")
    if not items:
        raise DataError(f"{source}: no DICOM, PNG, JPEG or NIfTI file in it")
    return items


class UsableFiles(IterableDataset):
    """Items of a run over files, transformed; those that can't be used are noted and passed by.

    For a loader in this process (`num_workers` 0): workers would note failures where nobody reads them.

    Args:
        data: items with `image`, a path.
        transform: what is made of an item.
        failures: takes note.
    """

    def __init__(
        self, data: Sequence[Mapping[str, Any]], transform: Callable[[dict[str, Any]], Any], failures: Failures
    ) -> None:
        self.data = data
        self.transform = transform
        self.failures = failures

    def __iter__(self) -> Iterator[Any]:
        for item in tqdm(self.data, unit="file", disable=None):
            made = None
            with self.failures.of(item["image"]):
                made = self.transform(dict(item))
            if made is not None:
                yield made


def _is_radiograph(path: Path, folder: Path) -> bool:
    hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
    if hidden or path.name == "DICOMDIR" or not path.is_file():
        return False
    if path.name.lower().endswith(_ENDINGS):
        return True
    try:
        return file_kind(path) == "DICOM"  # hospitals give them no ending; others have one
    except DataError:
        return False


def _of_list(path: Path) -> list[dict[str, str]]:
    datalist = read_datalist(path)
    splits = load_splits(datalist, path, path_keys=("image",), check_files="none")
    return [{"image": item["image"], "name": str(item["id"])} for split in splits.values() for item in split]
