"""One process of a sweep: started so that it never outlives the sweep, and ended so that it can save."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from scripts.sweeping.jobs import ROOT, Job
from scripts.sweeping.records import console

__all__ = ["Child", "Ended"]

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)


@dataclass(frozen=True)
class Ended:
    """How a process ended: exit code (negative: the signal), wall seconds and CPU seconds."""

    code: int
    seconds: float
    cpu_seconds: float


class Child:
    """Start the command of a job.

    It runs in a group of its own, so that Ctrl-C reaches the sweep alone, which then asks it to save. Should the sweep
    be killed, the system sends it SIGTERM.

    Args:
        job: what to run; what it prints is appended to `console(job)`.
        environment: variables to add to those of this process.
        lock: descriptor that the process holds as long as it lives.
    """

    def __init__(self, job: Job, environment: Mapping[str, str], lock: int) -> None:
        self.job = job
        self.began = time.monotonic()
        output = console(job)
        output.parent.mkdir(parents=True, exist_ok=True)
        with open(output, "ab") as file:
            self.process = subprocess.Popen(
                job.argv,
                cwd=ROOT,
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=(lock,),
                preexec_fn=_die_with(os.getpid()),
            )

    def ended(self) -> Ended | None:
        """How it ended; none while it runs."""
        process, status, usage = os.wait4(self.process.pid, os.WNOHANG)
        if process == 0:
            return None
        self.process.returncode = os.waitstatus_to_exitcode(status)
        return Ended(self.process.returncode, time.monotonic() - self.began, usage.ru_utime + usage.ru_stime)

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process and to those that it has started."""
        if self.process.returncode is None:
            os.killpg(self.process.pid, number)


def _die_with(parent: int) -> Callable[[], None]:
    """What the new process does first: ask to be told when the sweep dies, however it does."""

    def prepare() -> None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it was killed between the fork and this line
            os._exit(1)

    return prepare
