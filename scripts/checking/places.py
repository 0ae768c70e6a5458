"""Where an item stands in its list: what a report names instead of ids and paths, which may hold a patient's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from bundle.data.datalist_form import SPLITS

__all__ = ["each_place"]


def each_place(datalist: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every item with its place, as Python reads it from the parsed file.

    Example:
        >>> [place for place, _ in each_place({"test": [{"id": "a"}, {"id": "b"}]})]
        ['test[0]', 'test[1]']
    """
    for split in SPLITS:
        for number, item in enumerate(datalist.get(split, ())):
            yield f"{split}[{number}]", item
