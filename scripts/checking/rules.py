"""Whether a data list keeps the rules that loading asks for, said without naming a patient."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from bundle.data.datalist import check_datalist
from bundle.data.datalist_annotations import check_annotations
from bundle.data.datalist_form import check_form
from bundle.data.datalist_rules import check_rules
from bundle.data.errors import DataError
from scripts.checking.places import each_place

__all__ = ["Rules", "check_all_rules", "read_json"]


class Rules(NamedTuple):
    """Which rules a list keeps.

    Attributes:
        broken: the first violation of each kind of rule.
        notes: what is no violation but worth knowing.
        has_form: whether header and items hold the kinds of value that the format says.
        has_annotations: whether labels, boxes and masks can be counted.
    """

    broken: list[str]
    notes: list[str]
    has_form: bool
    has_annotations: bool


def read_json(path: Path) -> Any:
    """Read a data list whatever rules it breaks.

    Raises:
        DataError: the file can't be read or isn't JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path}: the data list can't be read ({error.strerror})") from error
    except ValueError as error:  # what isn't UTF-8 is one, too
        raise DataError(f"{path}: the data list isn't valid JSON ({error})") from error


def check_all_rules(datalist: Any, source: Path) -> Rules:
    """Check what `bundle.data.datalist.check_datalist` checks, but don't stop at the first kind of violation.

    Args:
        datalist: the parsed JSON.
        source: its file, for messages.
    """
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        whole = _violation(check_datalist, datalist, source)
        form = _violation(check_form, datalist, source) if whole else None
        rules = _violation(check_rules, datalist, source) if whole and not form else None
        annotations = _violation(check_annotations, datalist, source) if whole and not form else None
    broken = [reason for reason in (form, rules, annotations) if reason] or ([whole] if whole else [])
    # A list is kept, and named, at one place: what follows its name is enough.
    notes = dict.fromkeys(str(warning.message).removeprefix(f"{source}: ") for warning in warned)
    return Rules(broken, list(notes), has_form=form is None, has_annotations=form is None and annotations is None)


def _violation(check: Callable[[Any, str], None], datalist: Any, source: Path) -> str | None:
    try:
        check(datalist, str(source))
    except DataError as error:
        return _without_patient(str(error).removeprefix(f"{source}: "), datalist)
    except (TypeError, AttributeError, KeyError, ValueError) as error:  # a form that no rule foresaw
        return f"it holds a value that no rule foresees ({type(error).__name__})"
    return None


def _without_patient(message: str, datalist: Any) -> str:
    """The message with the item's place for its id, and without paths, patients and texts."""
    message = re.sub(r', not ["\[{].*$', "", message, flags=re.DOTALL)  # what was found instead may be a report
    message = re.sub(r"its (image|patient) .* is in both", r"its \1 is in both", message)
    message = re.sub(r"(image|mask) '.*' must be relative", r"the path of its \1 must be relative", message)
    if isinstance(datalist, Mapping) and message.startswith("item "):
        named = ((f"item {item['id']}: ", place) for place, item in each_place(datalist))
        start, place = max((pair for pair in named if message.startswith(pair[0])), default=("", ""))
        message = f"{place}: {message.removeprefix(start)}" if start else message
    return message
