"""What all batches of radiographs go through: bytes travel, floats are made, augmented and normalised on the device."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from monai.engines import PrepareBatch
from monai.utils import convert_to_tensor
from torch import Tensor

__all__ = ["Augment", "Device", "PrepareAugmented", "PrepareImages", "others", "plain"]

Augment = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
Device = str | torch.device | None


class PrepareImages(PrepareBatch):
    """Base of what prepares batches with images; nothing in it waits for the device.

    Args:
        mean: mean of the images in [0, 1] that normalisation subtracts.
        std: standard deviation that it divides by.
    """

    def __init__(self, mean: float, std: float) -> None:
        self.mean = mean
        self.std = std

    def unit_image(self, batchdata: Mapping[str, Any], device: Device, non_blocking: bool) -> Tensor:
        """The batch's `image`, `[B, 1, S, S]` of 0 to 255, on the device in [0, 1], float32."""
        return plain(batchdata["image"], device, non_blocking).float() / 255

    def normalised(self, image: Tensor) -> Tensor:
        """An image in [0, 1] as networks take it."""
        return (image - self.mean) / self.std


class PrepareAugmented(PrepareImages):
    """Base of what also augments.

    Args:
        mean: as of `PrepareImages`.
        std: as of `PrepareImages`.
        augment: maps image `[B, 1, S, S]` in [0, 1] and masks `[B, K, S, S]` (bool, K may be 0) to the same of the
            network's size.
    """

    def __init__(self, mean: float, std: float, augment: Augment | None = None) -> None:
        super().__init__(mean, std)
        self.augment = augment


def plain(value: Tensor, device: Device, non_blocking: bool) -> Tensor:
    """A tensor on the device, without the meta data that MONAI's transforms attach."""
    return convert_to_tensor(value, track_meta=False).to(device, non_blocking=non_blocking)


def others(
    batchdata: Mapping[str, Any], names: tuple[str, ...], device: Device, non_blocking: bool
) -> dict[str, Tensor]:
    """Those of some tensors that the batch has, on the device."""
    return {name: plain(batchdata[name], device, non_blocking) for name in names if name in batchdata}
