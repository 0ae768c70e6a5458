"""A record that a resumed run continues as if it had never stopped."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ignite.engine import Events
from monai.engines import Workflow

from .atomic import replacing

__all__ = ["JsonLines", "read_json_lines"]

Record = Mapping[str, Any]


def read_json_lines(path: str | Path) -> list[dict[str, Any]]:
    """The records of a file, without a last line that was torn; none where there is no file."""
    path = Path(path)
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    records = []
    for line in lines:
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return records


class JsonLines:
    """Append records, one JSON object a line, each with its `iteration`.

    A run that resumes from an older checkpoint walks again through iterations the file has seen. When the trainer's
    first iteration begins, the records from there on are dropped; so is a line that a kill tore in two.

    Args:
        path: the file; its folder is made.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._begun = False

    def attach(self, engine: Workflow) -> None:
        """Register with a trainer, whose iterations the records count."""
        # Not at STARTED: a checkpoint may be loaded by a handler that is called after this one.
        engine.add_event_handler(Events.STARTED, self._await_start)
        engine.add_event_handler(Events.ITERATION_STARTED, self._drop_at_start)

    def append(self, records: Sequence[Record]) -> None:
        """Write records behind the others; numbers keep every bit."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.path, "a", encoding="utf-8") as file:
            file.write("".join(json.dumps(record) + "\n" for record in records))

    def _await_start(self, engine: Workflow) -> None:
        self._begun = False

    def _drop_at_start(self, engine: Workflow) -> None:
        if not self._begun:
            self._begun = True
            self._drop_from(engine.state.iteration)

    def _drop_from(self, iteration: int) -> None:
        if self.path.is_file():
            kept = [record for record in read_json_lines(self.path) if record["iteration"] < iteration]
            with replacing(self.path) as partial:
                partial.write_text("".join(json.dumps(record) + "\n" for record in kept), encoding="utf-8")
