"""One sweep at a time in a folder."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from scripts.sweeping.errors import SweepError

__all__ = ["locked"]


@contextmanager
def locked(folder: Path, say: Callable[[str], None], patience: float = 120.0) -> Iterator[int]:
    """Hold the lock of a folder.

    The lock belongs to an open file, so the system gives it back however its process ends. Runs that are started with
    the descriptor hold it, too: what a killed sweep has left running is waited for.

    Args:
        folder: folder of all sweeps; it is made.
        say: prints a line.
        patience: seconds to wait for the runs of a killed sweep.

    Yields:
        The descriptor, for the runs.

    Raises:
        SweepError: when another sweep is at work, or runs of a killed one do not end.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "a+", encoding="utf-8") as file:
        _take(file.fileno(), folder, say, patience)
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield file.fileno()


def _take(descriptor: int, folder: Path, say: Callable[[str], None], patience: float) -> None:
    deadline, told = time.monotonic() + patience, False
    while not _try(descriptor):
        owner = _owner(folder)
        if owner is not None and _is_alive(owner):
            raise SweepError(
                f"{folder}: another sweep (process {owner}) is at work there: wait for it, or give another --out"
            )
        if time.monotonic() > deadline:
            raise SweepError(f"{folder}: runs of a killed sweep are still at work there: end them, then start again")
        if not told:
            say("waiting for runs of a killed sweep to save and end")
            told = True
        time.sleep(0.2)


def _try(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _owner(folder: Path) -> int | None:
    """The process that took the lock, as it wrote down; none in the moment before it did."""
    text = (folder / ".lock").read_text(encoding="utf-8").strip()
    return int(text) if text.isdigit() else None


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # someone else's
        return True
    return True
