"""Who an image is of, read from its file's path by a pattern."""

from __future__ import annotations

import argparse
import re

from bundle.data.errors import DataError

__all__ = ["add_patient_pattern", "patient_of"]


def add_patient_pattern(parser: argparse.ArgumentParser) -> None:
    """Add `--patient-pattern`, a regular expression that finds the patient in an image's path."""
    parser.add_argument(
        "--patient-pattern",
        type=_pattern,
        metavar="REGEX",
        help="finds the patient in an image's path below --root: its first group that matches, or all of it where it "
        r"has no group, such as '(p\d+)_' (default: patients are unknown and splits are drawn by image)",
    )


def patient_of(path: str, pattern: re.Pattern[str]) -> str:
    r"""The patient that a path names.

    Args:
        path: the image's path, with forward slashes.
        pattern: what to search for in it.

    Returns:
        The first group of the first match that took part in it; without groups the whole match.

    Raises:
        DataError: the path doesn't match, or what matches is empty.

    Example:
        >>> patient_of("normal/p12_3.png", re.compile(r"p(\d+)_"))
        '12'
    """
    found = pattern.search(path)
    parts = (found.groups() or (found.group(),)) if found else ()
    patient = next((part for part in parts if part and part.strip()), None)
    if patient is None:
        raise DataError(f"its path doesn't match --patient-pattern '{pattern.pattern}', so its patient is unknown")
    return patient.strip()


def _pattern(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise argparse.ArgumentTypeError(f"'{text}' is no regular expression ({error})") from None
