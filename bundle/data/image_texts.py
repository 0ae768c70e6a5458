"""What image-text classification reads: images with a text and the number of one class."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from bundle.data.datalist import load_splits, read_datalist
from bundle.data.datalist_form import fail
from bundle.data.errors import DataError
from bundle.data.listed_questions import joined_persons

__all__ = ["image_text_items", "majority_label"]

logger = logging.getLogger(__name__)


def image_text_items(
    path: str | os.PathLike[str],
    split: str,
    classes: Sequence[str],
    subset: int | None = None,
    text_keys: Sequence[str] = ("caption", "text"),
) -> list[dict[str, Any]]:
    """The items of a split that have a text and a label; the others are left out, and their number is logged.

    Args:
        path: the data list.
        split: `training`, `validation` or `test`.
        classes: names of the classes, of which each item has one.
        subset: percentage of the training split, as drawn when the list was made; None: all of it.
        text_keys: keys of the list that may hold the text; the first that an item has counts. Of a list of texts all
            are joined.

    Returns:
        Of each item, in the order of the list,

        - `image`: absolute path;
        - `text`: on one line;
        - `label`: number of the class;
        - `index`: its place in what is returned;
        - `patient`: one name for patients that the list's header joins to one person; where the list names none, the
          image's path, since a figure may have several texts.

    Raises:
        DataError: the list can't be used or lacks the split; an image isn't there; no item has text and label; or a
            label is no number of a class.

    Example:
        >>> image_text_items("lists/melinda/datalist.json", "test", classes)[0]["text"]  # doctest: +SKIP
        'Western blot, lanes 1 to 3.'
    """
    datalist = read_datalist(path)
    person = joined_persons(datalist)
    listed = load_splits(datalist, path, split, ("image",), subset, check_files="all")[split]
    usable = [(item, text) for item in listed if (text := _text(item, text_keys)) and "label" in item]
    if not usable:
        keys = " or ".join(f"'{key}'" for key in text_keys)
        raise DataError(f"{path}: none of the {len(listed)} items of {split} has a 'label' and a text ({keys})")
    if len(usable) < len(listed):
        left_out = len(listed) - len(usable)
        logger.info("%s: %d of %d items of %s lack a text or a label", path, left_out, len(listed), split)
    return [
        {
            "image": item["image"],
            "text": text,
            "label": _label(item, classes, str(path)),
            "index": index,
            "patient": person.get(patient := item.get("patient", item["image"]), patient),
        }
        for index, (item, text) in enumerate(usable)
    ]


def majority_label(items: Sequence[Mapping[str, Any]]) -> int:
    """The most frequent `label` of items; of equally frequent ones the lowest.

    Example:
        >>> majority_label([{"label": 2}, {"label": 0}, {"label": 2}])
        2
    """
    counts = Counter(item["label"] for item in items)
    return min(counts, key=lambda label: (-counts[label], label))


def _text(item: Mapping[str, Any], keys: Sequence[str]) -> str:
    found = next((item[key] for key in keys if key in item), "")
    return " ".join((found if isinstance(found, str) else " ".join(found)).split())


def _label(item: Mapping[str, Any], classes: Sequence[str], source: str) -> int:
    label = item["label"]
    if isinstance(label, list):
        raise fail(source, item, "its label is a list; classification with a text needs the number of one class")
    if label >= len(classes):
        raise fail(source, item, f"its label {label} is none of the {len(classes)} classes ({', '.join(classes)})")
    return label
