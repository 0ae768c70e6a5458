"""One function over many files in threads, with a progress bar."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from tqdm import tqdm

__all__ = ["in_threads"]

ValueT = TypeVar("ValueT")
ResultT = TypeVar("ResultT")

_CHUNK = 16
"""Values a task: a task for each of a million files would take a gigabyte."""


def in_threads(
    function: Callable[[ValueT], ResultT], values: Sequence[ValueT], workers: int, what: str, unit: str = "file"
) -> list[ResultT]:
    """Call a function for every value, several at a time.

    Args:
        function: what is called.
        values: its arguments.
        workers: threads.
        what: what the progress bar says.
        unit: what it counts.

    Returns:
        The results in the order of the values. An error, or Ctrl-C, ends all that has not begun.

    Example:
        >>> in_threads(abs, [-1, 2], workers=2, what="counting")
        [1, 2]
    """
    chunks = [values[start : start + _CHUNK] for start in range(0, len(values), _CHUNK)]
    pool = ThreadPoolExecutor(workers)
    results: list[ResultT] = []
    try:
        with tqdm(total=len(values), desc=what, unit=unit, disable=None) as bar:
            for found in pool.map(lambda chunk: [function(value) for value in chunk], chunks):
                results += found
                bar.update(len(found))
    finally:
        pool.shutdown(cancel_futures=True)
    return results
