"""Jobs at work: side by side, each behind those it needs, whatever becomes of the others."""

from __future__ import annotations

import shutil
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FrameType

from scripts.sweeping.child import Child, Ended
from scripts.sweeping.jobs import Job
from scripts.sweeping.records import console, is_done, last_words, note_end

__all__ = ["AtWork"]

_POLL = 0.1
_GRACE = 120.0
"""Seconds for a run to finish its step and save."""


class AtWork:
    """Run jobs until none can go on.

    Args:
        jobs: each behind those it needs; those that are done are left out.
        slots: what the environment of each process side by side adds.
        lock: descriptor that every process holds.
        titles: what to call each job in print.
        say: prints a line.

    Attributes:
        failed: jobs whose command failed, with what it said last.
    """

    def __init__(
        self,
        jobs: Sequence[Job],
        slots: Sequence[Mapping[str, str]],
        lock: int,
        titles: Mapping[Job, str],
        say: Callable[[str], None],
    ) -> None:
        self.waiting = [job for job in jobs if not is_done(job)]
        self.total = len(self.waiting)
        self.free = list(slots)
        self.lock = lock
        self.titles = titles
        self.say = say
        self.running: dict[Job, tuple[Child, Mapping[str, str]]] = {}
        self.failed: dict[Job, str] = {}
        self.signals = 0

    @property
    def stopped(self) -> bool:
        """Whether a signal came."""
        return self.signals > 0

    def run(self) -> None:
        """Work until all is done, nothing can go on, or a signal comes; then no process is left."""
        with self._answering():
            try:
                while not self.stopped and (self.running or self._ready() is not None):
                    self._start()
                    time.sleep(_POLL)
                    self._gather()
            finally:
                self._end()

    def _ready(self) -> Job | None:
        """The first job that nothing keeps from starting."""
        unfinished = {*self.waiting, *self.running, *self.failed}
        return next((job for job in self.waiting if not unfinished.intersection(job.needs)), None)

    def _start(self) -> None:
        while self.free and (job := self._ready()) is not None:
            self.waiting.remove(job)
            job.product.unlink(missing_ok=True)  # of a sitting that was cut off: what stands at the end is this one's
            if not job.resumes:
                shutil.rmtree(job.folder, ignore_errors=True)
            slot = self.free.pop(0)
            self.say(f"[{self.total - len(self.waiting)}/{self.total}] {self.titles[job]}")
            self.running[job] = (Child(job, slot, self.lock), slot)

    def _gather(self) -> None:
        for job, (child, slot) in list(self.running.items()):
            if (ended := child.ended()) is not None:
                del self.running[job]
                self.free.append(slot)
                self._judge(job, ended)

    def _judge(self, job: Job, ended: Ended) -> None:
        # A run that is asked to stop saves and exits with 0 as well: only its product tells.
        done = ended.code == 0 and job.product.is_file()
        note_end(job, done, ended.seconds, ended.cpu_seconds, ended.code)
        if done:
            self.say(f"done in {ended.seconds / 60:.1f} minutes: {self.titles[job]}")
        elif not self.stopped:
            self.failed[job] = last_words(job)
            self.say(f"FAILED ({ended.code}): {self.titles[job]}: {self.failed[job]}; its log is {console(job)}")

    def _end(self) -> None:
        """Ask what runs to save and end; kill it when it takes too long, or at the next signal."""
        if not self.running:
            return
        self.say(f"stopping: {len(self.running)} runs save and end")
        self._send(signal.SIGTERM)
        deadline, before = time.monotonic() + _GRACE, self.signals
        while self.running:
            if time.monotonic() > deadline or self.signals > max(before, 1):
                self._send(signal.SIGKILL)
            time.sleep(_POLL)
            self._gather()

    def _send(self, number: signal.Signals) -> None:
        for child, _ in self.running.values():
            child.send(number)

    @contextmanager
    def _answering(self) -> Iterator[None]:
        """Count SIGINT and SIGTERM while working, so that no process is lost between its start and its noting."""
        before = {number: signal.signal(number, self._on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, answer in before.items():
                signal.signal(number, answer)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.signals += 1
