"""What supervised stages read: the annotated items of a data list, with their labels in one form."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from bundle.data.datalist import load_splits, read_datalist
from bundle.data.datalist_form import each_item
from bundle.data.errors import DataError
from bundle.data.label_check import check_box_labels, check_labels
from bundle.data.manifest import sha256_file

__all__ = ["Task", "annotation", "labelled_items", "list_classes", "list_identity"]

Task = Literal["classification", "segmentation", "detection"]

logger = logging.getLogger(__name__)

_UNCERTAIN = {"ignore": math.nan, "positive": 1.0, "negative": 0.0}
_NEEDED = {
    "classification": "a 'label'",
    "segmentation": "a mask ('{mask_key}'), run lengths ('rle') or boxes ('boxes')",
    "detection": "'boxes'",
}
_MASK = "mask"
_CLASS_KEY = {"classification": "classes", "segmentation": "mask_classes", "detection": "box_classes"}


def labelled_items(
    path: str | os.PathLike[str],
    split: str,
    task: Task,
    subset: int | None = None,
    mask_key: str = _MASK,
    uncertain: Literal["ignore", "positive", "negative"] = "ignore",
    classes: Sequence[str] | None = None,
    exclusive: bool | None = None,
) -> list[dict[str, Any]]:
    """The items of a split that are annotated for a task; the others are left out, and their number is logged.

    Each item holds `image` (absolute path), `index` (its position in what is returned), `patient` (-1 where unknown;
    one name for patients that the list's header joins to one person), `spacing` ((row, column) of the original pixels
    in mm, nan where the list has none), and

    - for segmentation `label`: the path of a mask, or a dict from class name to such a path, or
      `{"rle": [...], "size": [H, W]}`, or `{"boxes": [[x1, y1, x2, y2], ...], "size": [H, W] or None}`, the first of
      these that the list has. Boxes that aren't empty stand for a mask only where no item of the list has a mask or run
      lengths, since rectangles and outlines are different targets; no boxes (`[]`) always mean an empty mask.
    - for classification `label`: a list of floats, one a class, nan where it is missing or ignored; or the number of
      the class (int), if the list says so.
    - for detection `boxes` (of the original's pixels), `box_label` (numbers of classes, zeros if the list has none)
      and, if the list has it, `boxes_size`: the [H, W] that they were drawn on.

    Args:
        path: the data list.
        split: `training`, `validation` or `test`.
        task: what is to be learnt.
        subset: percentage of the training split, as drawn when the list was made; None: all of it.
        mask_key: the list's key with a mask's path, or with a dict of paths by class name.
        uncertain: what -1 in a list of labels counts as.
        classes: names of the classes that are to be learnt, by which labels of images and boxes are checked.
        exclusive: whether labels of images must be numbers of classes (True) or lists (False); None: either.

    Returns:
        The items in the list's order.

    Raises:
        DataError: the list can't be used, lacks the split, the subset or the key of masks, nothing in it is annotated
            for the task, or its labels are of other classes or of another kind.

    Example:
        >>> labelled_items("lists/lungs/datalist.json", "training", "segmentation", subset=10)  # doctest: +SKIP
    """
    if uncertain not in _UNCERTAIN:
        raise DataError(f"uncertain labels can be {', '.join(_UNCERTAIN)}, not '{uncertain}'")
    total, annotated = _annotated(path, split, task, subset, mask_key)
    if len(annotated) < total:
        left_out = total - len(annotated)
        logger.info("%s: %d of %d items of %s have no label for %s", path, left_out, total, split, task)
    if task == "classification":
        _check_one_kind([label for _, label in annotated], path)
    persons = _persons(path)
    items = []
    for index, (item, found) in enumerate(annotated):
        patient = item.get("patient", -1)
        common = {
            "image": item["image"],
            "index": index,
            "patient": persons.get(patient, patient),
            "spacing": tuple(item.get("spacing", (math.nan, math.nan))),
        }
        if task == "detection":
            items.append(common | _boxes(item))
        else:
            items.append(common | {"label": _values(found, uncertain) if task == "classification" else found})
    if classes is not None and task == "classification":
        check_labels(items, classes, exclusive, path)
    if classes is not None and task == "detection":
        check_box_labels(items, classes, path)
    return items


def list_classes(path: str | os.PathLike[str], task: Task = "classification") -> list[str]:
    """Names of a list's classes: its `box_classes` for detection or `mask_classes` for segmentation, else `classes`.

    Raises:
        DataError: the list can't be used or names no classes.
    """
    datalist = _read(path)
    classes = datalist.get(_CLASS_KEY[task]) or datalist.get("classes")
    if not classes:
        raise DataError(f"{path}: the list's header names no 'classes'")
    return list(classes)


def list_identity(path: str | os.PathLike[str]) -> dict[str, str]:
    """`name` of a list (its file's, if the header has none) and `sha256` of the file: what results are tied to.

    Raises:
        DataError: the list can't be used.
    """
    return {"name": _read(path).get("name", Path(path).stem), "sha256": sha256_file(Path(path))}


def annotation(item: Mapping[str, Any], task: Task, mask_key: str = _MASK, boxes_are_masks: bool = False) -> Any:
    """What an item of a data list says for a task.

    Args:
        item: the item.
        task: the task.
        mask_key: the key of its mask.
        boxes_are_masks: whether boxes stand for a mask; no boxes (`[]`) stand for an empty one in any case.

    Returns:
        For segmentation the mask's path or paths, `{"rle", "size"}` or `{"boxes", "size"}`; for classification the
        label, for detection the boxes, as the list has them; None where the item isn't annotated.
    """
    if task == "detection":
        return item.get("boxes")
    if task == "classification":
        label = item.get("label")
        return None if isinstance(label, list) and all(value is None for value in label) else label
    if mask_key in item:
        return item[mask_key]
    if "rle" in item:
        return {"rle": item["rle"], "size": item["size"]}
    if "boxes" in item and (boxes_are_masks or not item["boxes"]):
        return {"boxes": item["boxes"], "size": item.get("size")}
    return None


def _annotated(
    path: str | os.PathLike[str], split: str, task: Task, subset: int | None, mask_key: str
) -> tuple[int, list[tuple[dict[str, Any], Any]]]:
    """How many items there are, and those that are annotated with their annotation."""
    datalist = _read(path)
    if mask_key != _MASK and not any(mask_key in item for item in each_item(datalist)):
        raise DataError(f"{path}: no item has a '{mask_key}', the key that was given for masks")
    boxes_are_masks = not any(mask_key in item or "rle" in item for item in each_item(datalist))
    items = load_splits(datalist, path, split, ("image", mask_key), subset)[split]
    found = [(item, annotation(item, task, mask_key, boxes_are_masks)) for item in items]
    annotated = [pair for pair in found if pair[1] is not None]
    if not annotated:
        part = split if subset is None else f"the subset of {subset} % of {split}"
        needed = _NEEDED[task].format(mask_key=mask_key)
        raise DataError(f"{path}: none of the {len(items)} items of {part} has {needed}, which {task} needs")
    return len(items), annotated


def _persons(path: str | os.PathLike[str]) -> dict[str, str]:
    """The one name of patients that are known to be one person."""
    joined = _read(path).get("split", {}).get("joined", [])
    return {patient: group[0] for group in joined for patient in group}


def _read(path: str | os.PathLike[str]) -> Mapping[str, Any]:
    """A whole list, parsed once for all that ask for its items, patients and classes."""
    try:
        status = os.stat(path)
    except OSError as error:
        raise DataError(f"{path}: the data list can't be read ({error.strerror})") from error
    return _parsed(os.fspath(path), os.getcwd(), status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=2)
def _parsed(path: str, folder: str, changed: int, size: int) -> Mapping[str, Any]:
    return read_datalist(path)


def _check_one_kind(labels: list[Any], path: str | os.PathLike[str]) -> None:
    if len({isinstance(label, list) for label in labels}) > 1:
        raise DataError(f"{path}: some labels are lists and some are numbers of a class; a list needs one kind")


def _values(label: list[int | None] | int, uncertain: str) -> list[float] | int:
    if isinstance(label, int):
        return label
    meaning = {None: math.nan, -1: _UNCERTAIN[uncertain]}
    return [meaning[value] if value in meaning else float(value) for value in label]  # type: ignore[arg-type]


def _boxes(item: Mapping[str, Any]) -> dict[str, Any]:
    size = {"boxes_size": item["size"]} if "size" in item else {}
    return {"boxes": item["boxes"], "box_label": item.get("box_label", [0] * len(item["boxes"])), **size}
