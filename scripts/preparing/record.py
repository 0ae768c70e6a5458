"""The record of what a data list leaves out, and why."""

from __future__ import annotations

import csv
import os
from collections import Counter
from pathlib import Path
from typing import Literal

from bundle.data.errors import DataError

__all__ = ["OnError", "Record"]

OnError = Literal["stop", "skip"]

_LISTED = 20


class Record:
    """Counts what filters drop and lists the items that are unusable.

    Args:
        on_error: what an unusable item does: `stop` ends the preparation, `skip` leaves the item out.

    Attributes:
        filters: items dropped on purpose, by reason.
        skipped: (item, reason) of every unusable item.
    """

    def __init__(self, on_error: OnError = "stop") -> None:
        self.on_error = on_error
        self.filters: Counter[str] = Counter()
        self.skipped: list[tuple[str, str]] = []

    def drop(self, reason: str, count: int = 1) -> None:
        """Count items that a rule of the data set leaves out; none is an error."""
        if count:
            self.filters[reason] += count

    def reject(self, item: str, reason: str) -> None:
        """Leave an unusable item out, or stop.

        Args:
            item: where it comes from, such as "pairs.csv row 7 (a.jpg)".
            reason: why it can't be used.

        Raises:
            DataError: `on_error` is `stop`.
        """
        if self.on_error == "stop":
            raise DataError(f"{item}: {reason} (--on-error skip leaves such items out)")
        self.skipped.append((item, reason))

    def lines(self) -> list[str]:
        """The record for a person to read: every filter's count and the first unusable items."""
        lines = [f"left out: {count} ({reason})" for reason, count in self.filters.items()]
        if self.skipped:
            lines.append(f"unusable and skipped: {len(self.skipped)}")
            lines += [f"  {item}: {reason}" for item, reason in self.skipped[:_LISTED]]
        if len(self.skipped) > _LISTED:
            lines.append(f"  ... and {len(self.skipped) - _LISTED} more")
        return lines

    def write(self, path: Path) -> None:
        """Write all unusable items as a table; where there are none, remove the one of an earlier run."""
        if not self.skipped:
            path.unlink(missing_ok=True)
            return
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        with temporary.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([("item", "reason"), *self.skipped])
        os.replace(temporary, path)
