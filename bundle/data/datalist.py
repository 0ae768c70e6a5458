"""The data list: one JSON file a data set, with a header and the splits `training`, `validation` and `test`.

The format is that of MONAI's decathlon lists, so `monai.data.load_decathlon_datalist` reads the same files. This
loader differs in two ways: it joins only the keys that are declared to be paths (MONAI's turns every string that
happens to name a file or folder into a path, at one file-system look-up a string), and it refuses a list that breaks
a rule of `check_datalist`.

Example of a list::

    {
      "name": "two_pairs",
      "image_root": "../images",
      "numTraining": 1,
      "numValidation": 0,
      "numTest": 1,
      "sha256": {"training": "ba78...", "test": "b1f5..."},
      "training": [
        {"id": "a", "image": "a.png", "patient": "p1", "view": "PA", "findings": "Clear lungs.", "subset": [10, 100]}
      ],
      "test": [
        {"id": "b", "image": "b.png", "patient": "p2", "view": "AP", "text": "Left effusion."}
      ]
    }
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, overload

from bundle.data.datalist_annotations import check_annotations
from bundle.data.datalist_form import SPLITS, check_form, fail
from bundle.data.datalist_rules import check_rules, sha256_of_ids
from bundle.data.errors import DataError

__all__ = ["check_datalist", "load_datalist", "load_splits", "read_datalist", "write_datalist"]

_SCHEMA_VERSION = 1
_SAMPLE = 100
"""Files looked for by default: enough to notice a wrong folder, cheap on a network disk."""

FileCheck = Literal["all", "none"] | int


def check_datalist(datalist: Mapping[str, Any], source: str | os.PathLike[str]) -> None:
    """Refuse a data list that breaks one of the format's rules.

    Ids are unique and no string is empty; no id, image or patient is in two splits (a warning says where patients are
    unknown), or as many as the header's `split` declares in `leaks`, for published splits that have some; subsets are
    nested; labels, boxes, run-length masks and prompts agree with `classes` and `size`; counts and the sha256 of the
    sorted ids agree with the header where it has them; paths are relative without `..`. Whether files exist is asked by
    `load_datalist`. Unknown keys are accepted.

    Args:
        datalist: the whole list, header and splits.
        source: the file's name, for the message.

    Raises:
        DataError: one sentence with the file, the item and the reason; the first violation found.
    """
    check_form(datalist, str(source))
    check_rules(datalist, str(source))
    check_annotations(datalist, str(source))


def read_datalist(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read and check a whole data list; its items stay as they are in the file.

    Args:
        path: the JSON file.

    Returns:
        The header with the splits, paths still relative to `image_root`.

    Raises:
        DataError: the file can't be read, isn't JSON, or breaks a rule of `check_datalist`.
    """
    try:
        datalist = json.loads(Path(path).read_text(encoding="utf-8"), parse_constant=_refuse_constant)
    except OSError as error:
        raise DataError(f"{path}: the data list can't be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: the data list isn't UTF-8 text") from error
    except ValueError as error:
        raise DataError(f"{path}: the data list isn't valid JSON ({error})") from error
    check_datalist(datalist, path)
    return datalist


@overload
def load_datalist(
    path: str | os.PathLike[str],
    key: str,
    path_keys: Sequence[str] = ...,
    subset: int | None = ...,
    check_files: FileCheck = ...,
) -> list[dict[str, Any]]: ...


@overload
def load_datalist(
    path: str | os.PathLike[str],
    key: None = ...,
    path_keys: Sequence[str] = ...,
    subset: int | None = ...,
    check_files: FileCheck = ...,
) -> dict[str, list[dict[str, Any]]]: ...


def load_datalist(
    path: str | os.PathLike[str],
    key: str | None = None,
    path_keys: Sequence[str] = ("image", "mask"),
    subset: int | None = None,
    check_files: FileCheck = _SAMPLE,
) -> list[dict[str, Any]] | dict[str, list[dict[str, Any]]]:
    """Read, check and load a data list, with absolute paths.

    Args:
        path: the JSON file.
        key: the split, `training`, `validation` or `test`; without it, every split of the list.
        path_keys: the keys that hold a path, or a dict of paths by name; they are joined to `image_root`, which is
            itself absolute or relative to the JSON file. No other value is touched.
        subset: percentage of the training split, such as 1 or 10, as drawn when the list was made; 100 is all of it.
        check_files: which files must exist: `all`, `none`, or this many, spread evenly over the list.

    Returns:
        The items of the split, or without `key` a dict from split to items.

    Raises:
        DataError: the list breaks a rule, lacks the split or the subset, or names a file that isn't there.

    Example:
        >>> load_datalist("runs/pairs/datalist.json", "training", subset=10)  # doctest: +SKIP
    """
    loaded = load_splits(read_datalist(path), path, key, path_keys, subset, check_files)
    return loaded if key is None else loaded[key]


def load_splits(
    datalist: Mapping[str, Any],
    path: str | os.PathLike[str],
    key: str | None = None,
    path_keys: Sequence[str] = ("image", "mask"),
    subset: int | None = None,
    check_files: FileCheck = _SAMPLE,
) -> dict[str, list[dict[str, Any]]]:
    """Load splits of a data list that was read before: `load_datalist` without its reading.

    Args:
        datalist: what `read_datalist` returned; not changed.
        path: the file that it was read from.
        key: as for `load_datalist`.
        path_keys: as for `load_datalist`.
        subset: as for `load_datalist`.
        check_files: as for `load_datalist`.

    Returns:
        From split to items with absolute paths; the items are new, what they hold beside paths is shared.

    Raises:
        DataError: the list lacks the split or the subset, or names a file that isn't there.
    """
    splits = _selected_splits(datalist, key, path)
    if subset is not None:
        splits["training"] = _subset(datalist, splits.get("training"), subset, path)
    base = os.path.normpath(Path(path).absolute().parent / datalist.get("image_root", "."))
    loaded = {name: [_with_paths(item, base, path_keys, path) for item in items] for name, items in splits.items()}
    _check_files([item for items in loaded.values() for item in items], path_keys, check_files, path)
    return loaded


def write_datalist(path: str | os.PathLike[str], datalist: Mapping[str, Any]) -> None:
    """Check a data list and write it, one item a line, complete or not at all.

    Fills `schema_version`, `numTraining`, `numValidation`, `numTest` and `sha256` (of each split's sorted ids), and
    leaves empty splits out, because MONAI's loader fails on them.

    Args:
        path: the JSON file; its folder is made.
        datalist: header and splits; not changed.

    Raises:
        DataError: the list breaks a rule of `check_datalist`.
    """
    filled = _filled(datalist, path)
    check_datalist(filled, path)
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        temporary.write_text(_as_text(filled, path), encoding="utf-8")
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a number")


def _selected_splits(datalist: Mapping[str, Any], key: str | None, path: str | os.PathLike[str]) -> dict[str, Any]:
    present = {name: datalist[name] for name in SPLITS if name in datalist}
    if key is None:
        return present
    if key not in present:
        raise DataError(f"{path}: the list has no split '{key}', only {', '.join(present)}")
    return {key: present[key]}


def _subset(
    datalist: Mapping[str, Any], items: list[dict[str, Any]] | None, percent: int, path: str | os.PathLike[str]
) -> list[dict[str, Any]]:
    if items is None:
        raise DataError(f"{path}: subset {percent} was asked for, but only the training split has subsets")
    if percent == 100:
        return items
    known = datalist.get("subsets", {})
    if str(percent) not in known:
        offered = ", ".join(dict.fromkeys([*known, "100"]))
        raise DataError(f"{path}: the list has no subset of {percent} %; it has {offered}")
    return [item for item in items if percent in item.get("subset", [])]


def _with_paths(
    item: dict[str, Any], base: str, path_keys: Sequence[str], source: str | os.PathLike[str]
) -> dict[str, Any]:
    joined = {}
    for key in path_keys:
        try:
            joined.update({key: _joined(base, item[key])} if key in item else {})
        except TypeError:
            raise fail(str(source), item, f"'{key}' must be a path, or an object of paths by name") from None
    return {**item, **joined}


def _joined(base: str, paths: str | dict[str, str]) -> str | dict[str, str]:
    if isinstance(paths, dict):
        return {name: os.path.join(base, path) for name, path in paths.items()}
    return os.path.join(base, paths)


def _check_files(
    items: list[dict[str, Any]], path_keys: Sequence[str], check_files: FileCheck, source: str | os.PathLike[str]
) -> None:
    if check_files == "none" or not items:
        return
    count = len(items) if check_files == "all" else min(int(check_files), len(items))
    for position in range(count):
        item = items[position * len(items) // count]
        for key in path_keys:
            paths = item.get(key, {})
            for path in paths.values() if isinstance(paths, dict) else (paths,):
                if not os.path.isfile(path):
                    raise DataError(
                        f"{source}: item {item['id']}: there is no {key} file {path}; "
                        "mend 'image_root' in the list's header or bring the file there"
                    )


def _filled(datalist: Mapping[str, Any], source: str | os.PathLike[str]) -> dict[str, Any]:
    splits = {name: list(datalist[name]) for name in SPLITS if datalist.get(name)}
    header = {key: value for key, value in datalist.items() if key not in SPLITS}
    header.setdefault("schema_version", _SCHEMA_VERSION)
    for name, count_key in SPLITS.items():
        header[count_key] = len(splits.get(name, ()))
    try:
        header["sha256"] = {name: sha256_of_ids(items) for name, items in splits.items()}
    except (KeyError, TypeError):
        header.pop("sha256", None)  # an item without a usable id: the check that follows names it
    return {**header, **splits}


def _as_text(datalist: Mapping[str, Any], source: str | os.PathLike[str]) -> str:
    """JSON with one header key or one item a line; plain ASCII, since MONAI opens lists in the locale's encoding."""
    encode = json.JSONEncoder(allow_nan=False).encode
    entries = []
    try:
        for key, value in datalist.items():
            if key in SPLITS:
                lines = ",\n".join(f"    {encode(item)}" for item in value)
                entries.append(f"  {encode(key)}: [\n{lines}\n  ]")
            else:
                entries.append(f"  {encode(key)}: {encode(value)}")
    except (TypeError, ValueError) as error:
        raise DataError(f"{source}: the list holds a value that JSON can't ({error})") from error
    return "{\n" + ",\n".join(entries) + "\n}\n"
