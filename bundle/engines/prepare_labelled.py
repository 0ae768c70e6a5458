"""From a batch of labelled radiographs to a network's input and its target, one class for each kind of label."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from monai.engines import PrepareBatch
from monai.utils import convert_to_tensor
from torch import Tensor

__all__ = ["PrepareBoxBatch", "PrepareLabelBatch", "PrepareMaskBatch"]

Augment = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
Device = str | torch.device | None


class PrepareLabelBatch(PrepareBatch):
    """Prepare images with labels.

    Bytes travel to the device, floats are made, augmented and normalised there, and nothing waits for it.

    Args:
        mean: mean of the images in [0, 1] that normalisation subtracts.
        std: standard deviation that it divides by.
        augment: maps image `[B, 1, S, S]` in [0, 1] and mask `[B, K, S, S]` (bool) to the same of the network's size;
            here it is given masks of no channels.

    Example:
        >>> image, target = PrepareLabelBatch(0.5, 0.25)(batch, "cuda")  # doctest: +SKIP
    """

    def __init__(self, mean: float, std: float, augment: Augment | None = None) -> None:
        self.mean = mean
        self.std = std
        self.augment = augment

    def __call__(
        self, batchdata: Mapping[str, Any], device: Device = None, non_blocking: bool = False, **kwargs: Any
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Prepare a batch.

        Args:
            batchdata: `image` `[B, 1, S, S]` of 0 to 255, `label` `[B, K]` (or K of `[B]`, as collating makes of lists)
                or numbers of classes `[B]`; `index` `[B]` where there is one.
            device: where to.
            non_blocking: as for `Tensor.to`.
            kwargs: not used.

        Returns:
            The normalised image `[B, 1, S, S]`, and the target: `label` `[B, K]` float32 or `[B]` int64, and `index`
            `[B]` int64 where the batch has one.
        """
        image = _unit_image(batchdata, device, non_blocking)
        label = batchdata["label"]
        label = torch.stack(label, dim=-1) if isinstance(label, list | tuple) else label
        label = _plain(label, device, non_blocking)
        if self.augment is not None:
            image, _ = self.augment(image, image.new_zeros((len(image), 0, *image.shape[2:]), dtype=torch.bool))
        target = {"label": label.float() if label.ndim > 1 else label.long()}
        return (image - self.mean) / self.std, target | _others(batchdata, ("index",), device, non_blocking)


class PrepareMaskBatch(PrepareBatch):
    """Prepare images with masks, which one augmentation warps together.

    Bytes travel to the device, floats are made, augmented and normalised there, and nothing waits for it.

    Args:
        mean: mean of the images in [0, 1] that normalisation subtracts.
        std: standard deviation that it divides by.
        augment: maps image `[B, 1, S, S]` in [0, 1] and mask `[B, K, S, S]` (bool) to the same of the network's size.

    Example:
        >>> image, target = PrepareMaskBatch(0.5, 0.25, BatchAugment(224))(batch, "cuda")  # doctest: +SKIP
    """

    def __init__(self, mean: float, std: float, augment: Augment | None = None) -> None:
        self.mean = mean
        self.std = std
        self.augment = augment

    def __call__(
        self, batchdata: Mapping[str, Any], device: Device = None, non_blocking: bool = False, **kwargs: Any
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Prepare a batch.

        Args:
            batchdata: `image` `[B, 1, S, S]` of 0 to 255, `label` `[B, K, S, S]` of 0 and 1; where there are such,
                `index` `[B]` and `spacing` `[B, 2]` (mm a fitted pixel, as `FitSpacingd` makes it).
            device: where to.
            non_blocking: as for `Tensor.to`.
            kwargs: not used.

        Returns:
            The normalised image `[B, 1, S, S]`, and the target: `label` `[B, K, S, S]` bool, and `index` `[B]` int64
            and `spacing` `[B, 2]` float32 where the batch has them. Scaling by the augmentation leaves the spacing as
            it is: surface distances are for evaluation, which has no augmentation.
        """
        image = _unit_image(batchdata, device, non_blocking)
        label = _plain(batchdata["label"], device, non_blocking) > 0
        if self.augment is not None:
            image, label = self.augment(image, label)
        others = _others(batchdata, ("index", "spacing"), device, non_blocking)
        return (image - self.mean) / self.std, {"label": label} | others


class PrepareBoxBatch(PrepareBatch):
    """Prepare images with boxes that `pad_boxes` has collated; without augmentation.

    Args:
        mean: mean of the images in [0, 1] that normalisation subtracts.
        std: standard deviation that it divides by.

    Example:
        >>> image, target = PrepareBoxBatch(0.5, 0.25)(pad_boxes(items), "cuda")  # doctest: +SKIP
    """

    def __init__(self, mean: float, std: float) -> None:
        self.mean = mean
        self.std = std

    def __call__(
        self, batchdata: Mapping[str, Any], device: Device = None, non_blocking: bool = False, **kwargs: Any
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Prepare a batch.

        Args:
            batchdata: `image` `[B, 1, S, S]` of 0 to 255, `boxes` `[B, M, 4]`, `box_label` `[B, M]`; where there are
                such, `index` `[B]` and `spacing` `[B, 2]`.
            device: where to.
            non_blocking: as for `Tensor.to`.
            kwargs: not used.

        Returns:
            The normalised image `[B, 1, S, S]`, and the target: `boxes`, `box_label`, and `index` and `spacing` where
            the batch has them.
        """
        image = _unit_image(batchdata, device, non_blocking)
        target = _others(batchdata, ("boxes", "box_label", "index", "spacing"), device, non_blocking)
        return (image - self.mean) / self.std, target


def _plain(value: Tensor, device: Device, non_blocking: bool) -> Tensor:
    """A tensor on the device, without the meta data that MONAI's transforms attach."""
    return convert_to_tensor(value, track_meta=False).to(device, non_blocking=non_blocking)


def _unit_image(batchdata: Mapping[str, Any], device: Device, non_blocking: bool) -> Tensor:
    return _plain(batchdata["image"], device, non_blocking).float() / 255


def _others(
    batchdata: Mapping[str, Any], names: tuple[str, ...], device: Device, non_blocking: bool
) -> dict[str, Tensor]:
    return {name: _plain(batchdata[name], device, non_blocking) for name in names if name in batchdata}
