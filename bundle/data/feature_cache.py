"""A data set of features in the place of images: each image is encoded once, and a linear probe takes seconds."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor
from torch.utils.data import Dataset

from bundle.data.errors import DataError
from bundle.data.feature_store import FeatureStore, image_key

__all__ = ["FeatureCache"]

_log = logging.getLogger(__name__)

Item = Mapping[str, Any]


class FeatureCache(Dataset[dict[str, Tensor]]):
    """Labelled items with the features of their images, encoded when this is made unless a folder has them.

    Only features are kept, found by image (path, size, time of change); labels are those of the items. So all fractions
    of a list, all tasks and all rules for uncertain labels share one cache, and it is the key alone that must tell
    encoders and ways of preparing images apart. Images are encoded as they are, without augmentation.

    With several processes each encodes its share of the images, all receive the others', and process 0 writes the
    folder, which must be on a disk that all share; every process must come here.

    Args:
        items: hold `image` (path), `label` (a list of floats, one a class, or the number of the class), and `index`
            (their place, if absent).
        encode: maps items to features `[n, C]`, float, in their order, without chance (`EncodeImages`).
        key: what features follow from beside the image, as JSON has it: `fingerprint` of the encoder, image size and
            fit, mean and std, precision; and the list's identity, to let caches of other lists lie apart.
        folder: folder for caches, see `FeatureStore`; None keeps the features in memory.

    Attributes:
        features: `[N, C]`, float32: of all items, or mapped from disk with further rows.

    Raises:
        DataError: an image is not there, an item has no label, or the folder cannot be used or is not shared.
        ValueError: if `encode` gives other than one row of numbers an item.

    Example:
        >>> items = labelled_items("lists/a/datalist.json", "training", "classification")
        >>> cache = FeatureCache(items, encode, {"weights": fingerprint(network.image_encoder)}, "runs/features")
        >>> cache[0]["image"].shape
        torch.Size([2048])
    """

    def __init__(
        self,
        items: Sequence[Item],
        encode: Callable[[list[Item]], Tensor],
        key: Mapping[str, Any],
        folder: str | Path | None = None,
    ) -> None:
        self.labels = _labels(items)
        self.index = torch.tensor([item.get("index", place) for place, item in enumerate(items)])
        images = [image_key(item["image"]) for item in items]
        store = FeatureStore(folder, key)
        _complete(store, dict(zip(images, items, strict=True)), encode)
        self.features, self._rows = store.features, store.find(images)
        if (self._rows < 0).any():
            raise DataError(f"{store.folder}: process 0 wrote it, another finds it not: give a disk that both share")

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, place: int) -> dict[str, Tensor]:
        """Item by place.

        Returns:
            `image` `[C]` float32; `label` `[K]` float32 with nan where unknown, or `[]` int64; `index` `[]` int64.
        """
        features = torch.from_numpy(np.array(self.features[self._rows[place]]))
        return {"image": features, "label": self.labels[place], "index": self.index[place]}


def _labels(items: Sequence[Item]) -> Tensor:
    """Labels `[N, K]` float32, or numbers of classes `[N]` int64."""
    if absent := [place for place, item in enumerate(items) if "label" not in item]:
        raise DataError(f"item {absent[0]} of {len(items)} has no label to train a probe with; leave it out")
    labels = torch.tensor([item["label"] for item in items])
    return labels.float() if labels.ndim > 1 else labels.long()


def _complete(store: FeatureStore, items: Mapping[bytes, Item], encode: Callable[[list[Item]], Tensor]) -> None:
    """Encode what the store lacks, all processes together; process 0 holds its folder against other runs."""
    images = list(items)
    with store.held() if _rank() == 0 else nullcontext():
        missing = [images[place] for place in _of_first(np.flatnonzero(store.find(images) < 0).tolist())]
        if missing:
            _log.info("encoding %d of %d images, each once", len(missing), len(images))
            features = _encode_together(encode, [items[image] for image in missing])
            if store.folder is None or _rank() == 0:
                store.add(missing, features)
        _wait()
        store.reload()
        _wait()


def _encode_together(encode: Callable[[list[Item]], Tensor], items: list[Item]) -> np.ndarray:
    """Features `[N, C]` of all items, of which every process encodes its share."""
    world_size = _world_size()
    share = items[_rank() :: world_size]
    own = encode(share).float().cpu().numpy() if share else None
    shares: list[np.ndarray | None] = [own]
    if world_size > 1:
        shares = [None] * world_size
        dist.all_gather_object(shares, own)
    rows = np.concatenate([features for features in shares if features is not None])
    if rows.ndim != 2 or len(rows) != len(items):
        raise ValueError(f"{len(items)} images were encoded to an array {rows.shape}; encode to one row an image.")
    features = np.empty_like(rows)
    features[np.concatenate([np.arange(rank, len(items), world_size) for rank in range(world_size)])] = rows
    return features


def _of_first(places: list[int]) -> list[int]:
    """What process 0 has, who alone has read the folder by now."""
    if _world_size() == 1:
        return places
    box = [places]
    dist.broadcast_object_list(box)
    return box[0]


def _wait() -> None:
    """Until all processes are here."""
    if _world_size() > 1:
        dist.barrier()


def _joined() -> bool:
    return dist.is_available() and dist.is_initialized()


def _rank() -> int:
    return dist.get_rank() if _joined() else 0


def _world_size() -> int:
    return dist.get_world_size() if _joined() else 1
