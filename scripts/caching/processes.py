"""The processes that `torchrun` has started, or this one alone."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from bundle.data.errors import DataError

__all__ = ["Processes", "SilentExit", "joined_processes"]

Result = TypeVar("Result")

_PATIENCE = timedelta(days=7)  # the first to finish waits for the last, whatever it is busy with


class SilentExit(SystemExit):
    """The end of a process for a reason that another one prints."""


class Processes:
    """This process among those that share the work.

    Attributes:
        rank: its number; 0 opens and publishes the folder.
        world_size: how many there are.
    """

    def __init__(self, rank: int = 0, world_size: int = 1) -> None:
        self.rank = rank
        self.world_size = world_size

    @property
    def device(self) -> torch.device:
        """A GPU of its own if there are any, else the CPU."""
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0"))) if torch.cuda.is_available() else _CPU

    def wait(self) -> None:
        """Until all processes are here.

        Raises:
            SilentExit: another one has ended, having said why.
        """
        if self.world_size > 1:
            try:
                dist.barrier()
            except RuntimeError:
                raise SilentExit(2) from None

    def first_does(self, work: Callable[[], Result]) -> Result:
        """Does something in process 0 while the others wait, who end with it where it fails.

        Returns:
            What the work gave in process 0.

        Raises:
            DataError: in process 0, as raised by the work.
            OSError: likewise.
            SilentExit: in the others.
        """
        outcome: list[Any] = [None, None]
        if self.rank == 0:
            try:
                outcome[0] = work()
            except (DataError, OSError) as error:
                outcome[1] = error
        if self.world_size > 1:
            told = [outcome[0], outcome[1] is not None]
            dist.broadcast_object_list(told)
            if told[1] and self.rank > 0:
                raise SilentExit(2)
            outcome[0] = told[0]
        if outcome[1] is not None:
            raise outcome[1]
        return outcome[0]


_CPU = torch.device("cpu")


@contextmanager
def joined_processes() -> Iterator[Processes]:
    """Joins the processes that `torchrun` has started; without it there is one."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield Processes()
        return
    # Only words travel between them, features go to the folder that they share: gloo serves on GPUs, too.
    dist.init_process_group("gloo", timeout=_PATIENCE)
    try:
        yield Processes(dist.get_rank(), dist.get_world_size())
    finally:
        dist.destroy_process_group()
