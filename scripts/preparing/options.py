"""Options that several commands share: numbers, names, and how splits are drawn by patient."""

from __future__ import annotations

import argparse
from collections.abc import Callable

__all__ = ["add_shares", "add_trust_patients", "at_least", "multiple_of", "names", "positive"]


def at_least(least: int) -> Callable[[str], int]:
    """The type of an option whose value is a whole number from `least` on.

    Example:
        >>> at_least(2)("3")
        3
    """

    def number(text: str) -> int:
        value = int(text)
        if value < least:
            raise argparse.ArgumentTypeError(f"must be at least {least}, got {text}")
        return value

    return number


positive = at_least(1)
"""The type of an option that counts something."""


def multiple_of(step: int, least: int = 1) -> Callable[[str], int]:
    """The type of an option whose value is a multiple of `step`, and `least` or more.

    Example:
        >>> multiple_of(8)("256")
        256
    """
    checked = at_least(least)

    def number(text: str) -> int:
        value = checked(text)
        if value % step:
            raise argparse.ArgumentTypeError(f"must be a multiple of {step}, got {text}")
        return value

    return number


def names(text: str) -> list[str]:
    """The type of an option that holds different names with a comma between them.

    Example:
        >>> names("Edema, Pneumonia")
        ['Edema', 'Pneumonia']
    """
    found = [name.strip() for name in text.split(",")]
    if not all(found) or len(set(found)) < len(found):
        raise argparse.ArgumentTypeError(f"'{text}' must be different names with a comma between them")
    return found


def add_shares(parser: argparse.ArgumentParser, validation: float, test: float) -> None:
    """Add `--validation` and `--test`, the shares of the images that are drawn for these splits.

    Args:
        parser: the data set's.
        validation: the default share.
        test: the default share.
    """
    for split, share in (("validation", validation), ("test", test)):
        parser.add_argument(f"--{split}", type=float, default=share, help=f"share for {split} (default: {share})")


def add_trust_patients(parser: argparse.ArgumentParser) -> None:
    """Add `--trust-patients`, which leaves out the search for one person under two names."""
    parser.add_argument(
        "--trust-patients", action="store_true", help="don't look for the same image under different patients"
    )
