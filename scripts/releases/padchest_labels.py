"""PadChest's labels, which its table holds as Python lists printed as text."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping

from bundle.data.errors import DataError

__all__ = ["multi_hot", "parse_labels"]


def parse_labels(cell: str) -> tuple[str, ...]:
    """The names in a cell.

    Args:
        cell: such as "['cardiomegaly', ' pleural effusion', '']"; names may have spaces around them or be empty.

    Returns:
        The names, each once, stripped; none for an empty list.

    Raises:
        DataError: the cell is no list of texts. It is parsed as a literal and never run.

    Example:
        >>> parse_labels("['normal', ' normal', '']")
        ('normal',)
    """
    try:
        names = ast.literal_eval(cell)
    except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
        raise DataError(f"its labels {cell[:60]!r} are no Python list") from error
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise DataError(f"its labels {cell[:60]!r} are no list of texts")
    return tuple(dict.fromkeys(stripped for name in names if (stripped := name.strip())))


def multi_hot(names: Iterable[tuple[str, ...]]) -> tuple[list[str], Mapping[tuple[str, ...], list[int]]]:
    """Number the labels.

    Args:
        names: the labels of each image.

    Returns:
        The classes in alphabetical order; and for every different set of labels its row of 1 and 0, one list however
        many images share it.

    Example:
        >>> multi_hot([("normal",), ("edema", "normal")])[1][("normal",)]
        [0, 1]
    """
    distinct = set(names)
    classes = sorted({name for group in distinct for name in group})
    return classes, {group: [int(name in group) for name in classes] for group in distinct}
