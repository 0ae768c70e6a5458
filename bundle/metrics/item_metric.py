"""What the metrics of supervised tasks share: a row of numbers of each item, gathered, each item once."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping

import torch
from monai.metrics import Cumulative
from torch import Tensor

from .samples import Sampled, first_of_each, value_of

__all__ = ["ItemMetric"]


class ItemMetric(Cumulative):
    """A metric of a whole list, computed from a row of numbers of each item.

    Rows are gathered over batches and processes, whose shards may be uneven; an item that arrives twice (a padded
    shard) counts once, and rows are put in the order of the list. So nothing depends on batch size, order or number of
    processes. A subclass adds rows in `__call__` and says in `measure` what is computed from them.
    """

    def __init__(self) -> None:
        super().__init__()
        self._samples: dict[str, Sampled] = {}

    def add(self, rows: Tensor, target: Mapping[str, Tensor]) -> None:
        """Add the rows `[B, ...]` of a batch.

        Args:
            rows: one row an item.
            target: `index` `[B]` int64, number in the data set. Without it (or where it is negative) each row is an
                item of its own, in order of arrival.
        """
        unknown = torch.full((len(rows),), -1, dtype=torch.int64, device=rows.device)
        self.extend(rows, target.get("index", unknown))

    def gathered(self) -> tuple[Tensor, Tensor]:
        """All rows `[N, ...]` and their `index` `[N]` int64, ascending, on the CPU.

        Raises:
            ValueError: when nothing was added.
        """
        buffers = self.get_buffer()
        if buffers is None:
            raise ValueError(
                f"{type(self).__name__} was asked for before any item was added; check that the list has items"
            )
        rows, index = (buffer.cpu() for buffer in buffers)
        following = int(index.max()) + 1 + torch.arange(len(index))
        index = torch.where(index < 0, following, index)
        once = first_of_each(index)
        order = once[index[once].argsort()]
        return rows[order], index[order]

    @abstractmethod
    def measure(self, rows: Tensor, index: Tensor) -> dict[str, Sampled]:
        """The metrics of all rows `[N, ...]` by name; those that are undefined may be among them."""

    def aggregate(self) -> dict[str, float]:
        """Compute all metrics that are defined, by name.

        Raises:
            ValueError: when nothing was added.
        """
        measured = self.measure(*self.gathered())
        values = {name: value_of(sampled) for name, sampled in measured.items()}
        defined = {name: value for name, value in values.items() if not math.isnan(value)}
        self._samples = {name: measured[name] for name in defined}
        return defined

    def samples(self) -> dict[str, Sampled]:
        """What a bootstrap of the latest `aggregate` draws from, by name."""
        return self._samples
