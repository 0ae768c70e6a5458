"""Batches of indices, shared out so that W processes see exactly the batches of one process."""

from __future__ import annotations

from collections.abc import Iterator, Sized
from typing import Any

import numpy as np
import torch
import torch.distributed
from torch.utils.data import Sampler

from bundle.data.errors import DataError

__all__ = ["ShardedBatchSampler"]


class ShardedBatchSampler(Sampler[list[int]]):
    """Cuts each epoch into global batches and gives every process its share of each of them.

    The order of an epoch follows from `(seed, epoch)` alone. It is cut into global batches of
    `batch_size * world_size` indices, and rank r takes the entries r, r + W, r + 2W, ... of each: the union over the
    ranks is the batch that one process with a W times larger batch size would see, so a run can go on with another
    number of processes as long as the global batch stays the same.

    Call `set_epoch` at the start of each epoch; without it every epoch has the same order.

    Args:
        dataset: anything with a length, or the length.
        batch_size: indices per process and batch.
        shuffle: draws a new order each epoch; otherwise the order is 0, 1, 2, ...
        seed: seed of the order.
        drop_last: leaves out the last, incomplete global batch (training: all ranks take the same number of steps).
            With False (validation) nothing is left out and nothing is repeated: the last batch is shorter, and ranks
            for which none of it is left have one batch fewer.
        world_size: number of processes; by default asked of `torch.distributed` when the sampler is used.
        rank: number of this process; by default asked of `torch.distributed` when the sampler is used.

    Raises:
        ValueError: batch size below 1, rank outside 0 .. world_size - 1, or (here or when used) fewer items than one
            global batch with `drop_last`, or than processes.

    Example:
        >>> sampler = ShardedBatchSampler(8, batch_size=2, shuffle=False, world_size=2, rank=1)
        >>> list(sampler)
        [[1, 3], [5, 7]]
    """

    def __init__(
        self,
        dataset: Sized | int,
        batch_size: int,
        shuffle: bool = True,
        seed: int = 0,
        drop_last: bool = True,
        world_size: int | None = None,
        rank: int | None = None,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        self.length = dataset if isinstance(dataset, int) else len(dataset)
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.seed = seed
        self.drop_last = drop_last
        self.world_size = world_size
        self.rank = rank
        self.epoch = 0
        self.start = 0
        if world_size is not None and rank is not None:
            self._global_batch()

    def _share(self) -> tuple[int, int]:
        """World size and rank in force now: processes may be joined after the sampler was made."""
        joined = torch.distributed.is_available() and torch.distributed.is_initialized()
        world_size = self.world_size or (torch.distributed.get_world_size() if joined else 1)
        rank = self.rank if self.rank is not None else (torch.distributed.get_rank() if joined else 0)
        if not 0 <= rank < world_size:
            raise ValueError(f"rank must be in 0..{world_size - 1}, got {rank}")
        return world_size, rank

    def _global_batch(self) -> int:
        world_size, _ = self._share()
        size = self.batch_size * world_size
        if self.drop_last and self.length < size:
            raise DataError(
                f"the data set has {self.length} items, fewer than one global batch of {size} "
                f"({self.batch_size} x {world_size} processes): use a smaller batch_size or drop_last=False"
            )
        if 0 < self.length < world_size:  # a process without items would leave the others waiting for its results
            raise DataError(
                f"the list has {self.length} items for {world_size} processes, and each needs one: use at most "
                f"{self.length} processes"
            )
        return size

    def __len__(self) -> int:
        """Batches of a whole epoch for this rank, wherever the next iteration starts.

        Raises:
            DataError: the data set is smaller than one global batch and `drop_last` is set, or has fewer items than
                there are processes.
        """
        size = self._global_batch()
        full, rest = divmod(self.length, size)
        _, rank = self._share()
        return full + int(not self.drop_last and rank < rest)

    def __iter__(self) -> Iterator[list[int]]:
        """Starts at the batch given by `set_start`.

        Raises:
            DataError: the data set is smaller than one global batch and `drop_last` is set, or has fewer items than
                there are processes.
        """
        self._global_batch()
        return self._batches(self._order(), self.start)

    def _order(self) -> np.ndarray:
        if not self.shuffle:
            return np.arange(self.length)
        # SeedSequence mixes the two numbers: seed + epoch would make epoch 1 of seed 0 equal to epoch 0 of seed 1.
        mixed = np.random.SeedSequence([self.seed, self.epoch]).generate_state(1, np.uint64)
        generator = torch.Generator().manual_seed(int(mixed[0] >> np.uint64(1)))
        return torch.randperm(self.length, generator=generator).numpy()

    def _batches(self, order: np.ndarray, start: int) -> Iterator[list[int]]:
        size = self._global_batch()
        world_size, rank = self._share()
        for number in range(start, len(self)):
            yield order[number * size : (number + 1) * size][rank::world_size].tolist()

    def set_epoch(self, epoch: int) -> None:
        """Chooses the epoch (from 0) whose order the next iteration follows."""
        self.epoch = epoch

    def set_start(self, batch: int) -> None:
        """Lets iterations begin at this batch of the epoch (from 0), until it is set again.

        A loader with workers asks for an iterator twice before it starts, so the position must outlive the first.

        Raises:
            ValueError: the batch is negative.
        """
        if batch < 0:
            raise ValueError(f"the first batch must not be negative, got {batch}")
        self.start = batch

    def _identity(self) -> dict[str, Any]:
        return {
            "length": self.length,
            "global_batch": self._global_batch(),
            "shuffle": self.shuffle,
            "seed": self.seed,
            "drop_last": self.drop_last,
        }

    def state_dict(self) -> dict[str, Any]:
        """Epoch and start set last, and what makes them meaningful: length, global batch, order and seed.

        The sampler does not count what was consumed, since loader workers fetch ahead: whoever trains knows the
        position and gives it to `set_start`.
        """
        return {"epoch": self.epoch, "start": self.start, **self._identity()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes over epoch and start of a saved state.

        Raises:
            ValueError: the state belongs to another data length, global batch or order; its position would point to
                other items. The message lists what differs.
        """
        differing = [
            f"{name}: saved {state.get(name)}, now {value}"
            for name, value in self._identity().items()
            if state.get(name) != value
        ]
        if differing:
            raise DataError(f"the saved position does not fit this batch sampler: {'; '.join(differing)}")
        self.set_epoch(state["epoch"])
        self.set_start(state["start"])
