"""The files that an item of a data list names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

__all__ = ["ItemFile", "item_files"]


class ItemFile(NamedTuple):
    """A file of an item.

    Attributes:
        key: the item's key: `image`, `mask`, or one like `finding_masks` that holds paths by class.
        name: the class, where the key holds paths by class.
        path: relative to the list's `image_root`.
    """

    key: str
    name: str | None
    path: str


def item_files(item: Mapping[str, Any]) -> Iterator[ItemFile]:
    """Every file of an item: its image, its mask, and each mask of a key ending in `masks` with paths by class.

    Example:
        >>> [file.path for file in item_files({"image": "a.png", "finding_masks": {"heart": "a_heart.png"}})]
        ['a.png', 'a_heart.png']
    """
    for key, value in item.items():
        if key in ("image", "mask") and isinstance(value, str):
            yield ItemFile(key, None, value)
        elif key.endswith("masks") and isinstance(value, Mapping):
            yield from (ItemFile(key, name, path) for name, path in value.items() if isinstance(path, str))
