"""From a batch of labelled radiographs to a network's input and its target, one class for each kind of label."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from .prepare_images import Device, PrepareAugmented, PrepareImages, others, plain

__all__ = ["PrepareBoxBatch", "PrepareLabelBatch", "PrepareMaskBatch"]


class PrepareLabelBatch(PrepareAugmented):
    """Prepare images with labels.

    Args:
        mean: as of `PrepareImages`.
        std: as of `PrepareImages`.
        augment: as of `PrepareAugmented`; it is given masks of no channels.

    Example:
        >>> image, target = PrepareLabelBatch(0.5, 0.25)(batch, "cuda")  # doctest: +SKIP
    """

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
        image = self.unit_image(batchdata, device, non_blocking)
        label = batchdata["label"]
        label = torch.stack(label, dim=-1) if isinstance(label, list | tuple) else label
        label = plain(label, device, non_blocking)
        if self.augment is not None:
            image, _ = self.augment(image, image.new_zeros((len(image), 0, *image.shape[2:]), dtype=torch.bool))
        target = {"label": label.float() if label.ndim > 1 else label.long()}
        return self.normalised(image), target | others(batchdata, ("index",), device, non_blocking)


class PrepareMaskBatch(PrepareAugmented):
    """Prepare images with masks, which one augmentation warps together.

    Args:
        mean: as of `PrepareImages`.
        std: as of `PrepareImages`.
        augment: as of `PrepareAugmented`.

    Example:
        >>> image, target = PrepareMaskBatch(0.5, 0.25, BatchAugment(224))(batch, "cuda")  # doctest: +SKIP
    """

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
        image = self.unit_image(batchdata, device, non_blocking)
        label = plain(batchdata["label"], device, non_blocking) > 0
        if self.augment is not None:
            image, label = self.augment(image, label)
        rest = others(batchdata, ("index", "spacing"), device, non_blocking)
        return self.normalised(image), {"label": label} | rest


class PrepareBoxBatch(PrepareImages):
    """Prepare images with boxes that `pad_boxes` has collated; without augmentation.

    Args:
        mean: as of `PrepareImages`.
        std: as of `PrepareImages`.

    Example:
        >>> image, target = PrepareBoxBatch(0.5, 0.25)(pad_boxes(items), "cuda")  # doctest: +SKIP
    """

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
        image = self.unit_image(batchdata, device, non_blocking)
        target = others(batchdata, ("boxes", "box_label", "index", "spacing"), device, non_blocking)
        return self.normalised(image), target
