"""The frame of every command: one sentence on stderr and an exit code instead of a traceback."""

from __future__ import annotations

import sys
from collections.abc import Callable

from bundle.data.errors import DataError

__all__ = ["exit_code"]

_ERRORS = (DataError, OSError)


def exit_code(
    work: Callable[[], int | None],
    errors: tuple[type[Exception], ...] = _ERRORS,
    interrupted: str = "the same command starts anew",
) -> int:
    """Do the work of a command, and say in one line why where it can't be done.

    Args:
        work: the work; it returns an exit code, None for 0.
        errors: what counts as unusable input instead of a fault of the program, which keeps its traceback.
        interrupted: what Ctrl-C leaves behind, or what to do after it, for the line that it prints.

    Returns:
        What `work` returns; 2 after one of the errors; 130, as shells have it, after Ctrl-C.

    Example:
        >>> exit_code(lambda: None)
        0
    """
    try:
        return work() or 0
    except errors as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"interrupted: {interrupted}", file=sys.stderr)
        return 130
