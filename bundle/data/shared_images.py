"""Items that share images: each image is read once, however many items are about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from monai.data import CacheDataset
from monai.transforms import Compose
from torch.utils.data import Dataset

__all__ = ["SharedImages"]


class SharedImages(Dataset[dict[str, Any]]):
    """Questions, or captions, each with its image, which is decoded once for all of them.

    Args:
        data: items with `image`, a path, and anything else.
        transform: reads `{"image": path}`; what it returns takes the place of the path. It draws nothing.
        cache_rate: share of the distinct images that stay in memory; the others are decoded at every access.
        num_workers: threads that fill the memory at the start.
        progress: whether a bar shows how far that is.

    Attributes:
        data: the items.
        images: the distinct images, in the order in which they first occur.

    Example:
        >>> read = Compose([LoadRadiographd("image"), FitRadiographd("image", 224), SelectItemsd("image")])
        >>> dataset = SharedImages(question_items(path, "training", vocabulary), read)  # doctest: +SKIP
    """

    def __init__(
        self,
        data: Sequence[Mapping[str, Any]],
        transform: Compose,
        cache_rate: float = 1.0,
        num_workers: int = 1,
        progress: bool = False,
    ) -> None:
        self.data = data
        distinct = list(dict.fromkeys(item["image"] for item in data))
        self._place = {path: place for place, path in enumerate(distinct)}
        named = [{"image": path} for path in distinct]
        self.images = CacheDataset(named, transform, cache_rate=cache_rate, num_workers=num_workers, progress=progress)

    def __len__(self) -> int:
        """Number of items."""
        return len(self.data)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """An item with its image; the image itself is shared and not to be changed in place."""
        item = self.data[index]
        return {**item, **self.images[self._place[item["image"]]]}
