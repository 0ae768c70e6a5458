"""The masks of a data list in the squares of the packed store that was made from it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bundle.data.datalist import load_datalist
from bundle.data.errors import DataError
from bundle.data.mask_reader import read_mask
from bundle.data.pack_layout import GEOMETRY_COLUMNS
from bundle.data.packed import PackedDataset
from bundle.transforms.geometry import Geometry

__all__ = ["stored_masks"]


def stored_masks(dataset: PackedDataset, datalist: str | Path, mask_key: str = "mask") -> Tensor:
    """Read where a list's masks mark anything, for every row of a split.

    Args:
        dataset: the split.
        datalist: the list that its store was packed from.
        mask_key: the items' key with a mask's path; items without it have nothing marked.

    Returns:
        Bool `[N, 1, S, S]`, in the rows' order.

    Raises:
        DataError: the list lacks an item of the store, or a mask can't be read or has another size than its image.

    Example:
        >>> truth = stored_masks(PackedDataset("data/phantoms/store", "training"), "data/phantoms/datalist.json")
    """
    listed = load_datalist(datalist, dataset.split, path_keys=(mask_key,))
    paths = {item["id"]: item.get(mask_key) for item in listed}
    side = dataset.manifest["parameters"]["size"]
    masks = np.zeros((len(dataset), 1, side, side), dtype=bool)
    for row, name in enumerate(dataset.items["id"]):
        if name not in paths:
            raise DataError(f"{datalist}: no item '{name}' of the store {dataset.root}; name the list it was made from")
        if (path := paths[name]) is not None:
            masks[row, 0] = _geometry(dataset.geometry[row], side).mask_to_fitted(read_mask(path) > 0)
    return torch.from_numpy(masks)


def _geometry(row: np.ndarray, side: int) -> Geometry:
    at = dict(zip(GEOMETRY_COLUMNS, row.tolist(), strict=True))
    return Geometry(
        size=(int(at["height"]), int(at["width"])),
        box=(int(at["top"]), int(at["left"]), int(at["bottom"]), int(at["right"])),
        scale=(at["scale_y"], at["scale_x"]),
        offset=(int(at["offset_y"]), int(at["offset_x"])),
        side=side,
    )
