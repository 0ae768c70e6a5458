"""Rules for what a data list's items say about their images: labels, boxes, run-length masks, questions, prompts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bundle.data.datalist_form import each_item, fail
from bundle.data.errors import DataError

__all__ = ["check_annotations"]

_CLASS_KEYS = ("classes", "box_classes", "mask_classes")
"""Header keys of class names: of everything, and those of boxes and of masks where these are other names."""

_LABEL_VALUES = (-1, 0, 1, None)
# Tuples, since `bool | float` within a function would be made anew for every one of a list's millions of values.
_NOT_LABELS = (bool, float)
_NUMBERS = (int, float)
_ANSWER_TYPES = ("CLOSED", "OPEN")


def check_annotations(datalist: Mapping[str, Any], source: str) -> None:
    """Check the task keys of every item that has them.

    Args:
        datalist: a list that passed `bundle.data.datalist_form.check_form`.
        source: the file's name, for the message.

    Raises:
        DataError: the first violation found.
    """
    classes = datalist.get("classes", [])
    box_classes = datalist.get("box_classes", classes)
    prompts = datalist.get("prompts", {})
    for key in _CLASS_KEYS:
        _check_classes(datalist.get(key, []), key, source)
    _check_prompts(classes, prompts, source)
    for item in each_item(datalist):
        if "label" in item:
            _check_label(item, classes, datalist.get("multilabel"), source)
        if "size" in item:
            _check_size(item, source)
        if "boxes" in item:
            _check_boxes(item, source)
        if "box_label" in item:
            _check_box_label(item, box_classes, source)
        if "rle" in item:
            _check_rle(item, source)
        if "spacing" in item:
            _check_spacing(item, source)
        if "phrase_class" in item:
            _check_phrase_class(item, classes, prompts, source)
        if "answer_type" in item and item["answer_type"] not in _ANSWER_TYPES:
            raise fail(source, item, f"answer_type '{item['answer_type']}' is none of {', '.join(_ANSWER_TYPES)}")


def _check_classes(classes: Any, key: str, source: str) -> None:
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
        raise DataError(f"{source}: '{key}' must be a list of names")
    if len(set(classes)) != len(classes):
        raise DataError(f"{source}: the header's '{key}' names a class twice")


def _check_prompts(classes: Sequence[str], prompts: Mapping[str, Any], source: str) -> None:
    for name in classes if prompts else ():
        if name not in prompts:
            raise DataError(f"{source}: the header's 'prompts' lacks the class '{name}'")
    for name, sides in prompts.items():
        if not isinstance(sides, Mapping) or not sides.get("pos"):
            raise DataError(f"{source}: the prompts of '{name}' must be an object with a non-empty list 'pos'")
        for side, texts in sides.items():
            if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
                raise DataError(f"{source}: the prompts '{side}' of '{name}' must be a list of texts")


def _check_label(item: Mapping[str, Any], classes: Sequence[str], multilabel: bool | None, source: str) -> None:
    label = item["label"]
    if isinstance(label, list):
        if multilabel is False:
            raise fail(source, item, "label must be one class index, since the header says multilabel false")
        if len(label) != len(classes):
            raise fail(source, item, f"label has {len(label)} values for {len(classes)} classes")
        if not all(value in _LABEL_VALUES and not isinstance(value, _NOT_LABELS) for value in label):
            raise fail(source, item, f"label {label} may hold only -1, 0, 1 and null")
        return
    if multilabel:
        raise fail(source, item, "label must be a list of one value a class, since the header says multilabel true")
    if not _is_class_index(label, classes):
        raise fail(source, item, f"label {label!r} is no index into the {len(classes)} classes")


def _check_size(item: Mapping[str, Any], source: str) -> None:
    size = item["size"]
    if not isinstance(size, list) or len(size) != 2 or not all(_is_int(side) and side > 0 for side in size):
        raise fail(source, item, f"size {size!r} must be [height, width] in pixels")


def _check_spacing(item: Mapping[str, Any], source: str) -> None:
    spacing = item["spacing"]
    if not isinstance(spacing, list) or len(spacing) != 2 or not all(_is_number(side) and side > 0 for side in spacing):
        raise fail(source, item, f"spacing {spacing!r} must be [row, column] distances of pixels in mm")


def _check_boxes(item: Mapping[str, Any], source: str) -> None:
    if not isinstance(item["boxes"], list):
        raise fail(source, item, "boxes must be a list of [x1, y1, x2, y2]")
    if item["boxes"] and "size" not in item:
        raise fail(source, item, "boxes need 'size', the [height, width] of the image they were drawn on")
    for box in item["boxes"]:
        if not isinstance(box, list) or len(box) != 4 or not all(_is_number(value) for value in box):
            raise fail(source, item, f"box {box!r} must be four numbers [x1, y1, x2, y2]")
        x1, y1, x2, y2 = box
        if not (x1 < x2 and y1 < y2):
            raise fail(source, item, f"box {box} is empty: it needs x2 > x1 and y2 > y1")
        height, width = item["size"]
        if min(x1, y1) < 0 or x2 > width or y2 > height:
            raise fail(source, item, f"box {box} leaves the image of {width} x {height} pixels")


def _check_box_label(item: Mapping[str, Any], classes: Sequence[str], source: str) -> None:
    labels = item["box_label"]
    if not isinstance(labels, list) or len(labels) != len(item.get("boxes", ())):
        raise fail(source, item, "box_label must have one class index for each of 'boxes'")
    for label in labels:
        if not _is_class_index(label, classes):
            raise fail(source, item, f"box_label {label!r} is no index into the {len(classes)} classes")


def _check_rle(item: Mapping[str, Any], source: str) -> None:
    if "size" not in item:
        raise fail(source, item, "rle needs 'size', the [height, width] of the mask")
    if not isinstance(item["rle"], list) or not all(isinstance(code, str) for code in item["rle"]):
        raise fail(source, item, "rle must be a list of texts 'offset length offset length ...'")
    height, width = item["size"]
    for code in item["rle"]:
        try:
            numbers = [int(number) for number in code.split()]
        except ValueError:
            raise fail(source, item, "rle holds something other than whole numbers") from None
        if len(numbers) % 2 or min(numbers) < 0:
            raise fail(source, item, "rle must be pairs of a non-negative offset and length")
        # Offsets count from the end of the run before, so the last pixel lies at the sum of all numbers.
        if sum(numbers) > height * width:
            raise fail(source, item, f"rle runs past the end of the image of {width} x {height} pixels")


def _check_phrase_class(
    item: Mapping[str, Any], classes: Sequence[str], prompts: Mapping[str, Any], source: str
) -> None:
    if not _is_class_index(item["phrase_class"], classes):
        raise fail(source, item, f"phrase_class {item['phrase_class']!r} is no index into the {len(classes)} classes")
    name = classes[item["phrase_class"]]
    if "phrase" not in item and name not in prompts:
        raise fail(source, item, f"it has no 'phrase' and the header has no prompts for its class '{name}'")


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, _NUMBERS) and not isinstance(value, bool)


def _is_class_index(value: Any, classes: Sequence[str]) -> bool:
    return _is_int(value) and 0 <= value < len(classes)
