"""A frozen encoder run once over the images of a data list."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, cast

import torch
from monai.data import Dataset
from monai.inferers import Inferer
from monai.networks.utils import eval_mode
from torch import Tensor, nn
from torch.utils.data import DataLoader, default_collate

__all__ = ["EncodeImages"]


class _WithFeatures(Protocol):
    """What `Classifier` has beside a network's `forward`."""

    def features(self, image: Tensor) -> Tensor:
        """Map normalised images `[B, 1, S, S]` to features `[B, C]`."""


class EncodeImages:
    """Features of the images of items, made as an evaluation makes them: evaluation mode, no gradient, same precision.

    Args:
        network: one with features, such as `Classifier`; moved to the device.
        preprocessing: transforms of an item, without chance; the network's images are under `image`.
        prepare_batch: collated items and device to the normalised image (and a target, which is not read), without
            augmentation.
        inferer: calls the network, under autocast or not.
        device: where the network runs.
        batch_size: images at a time.
        num_workers: processes that read and transform images; 0: this one does.
        collate: as of a `DataLoader`.

    Example:
        >>> encode = EncodeImages(classifier, preprocessing, PrepareLabelBatch(0.449, 0.226), AutocastInferer(), "cuda")
        >>> encode(labelled_items("lists/a/datalist.json", "training", "classification")).shape  # doctest: +SKIP
        torch.Size([160, 2048])
    """

    def __init__(
        self,
        network: nn.Module,
        preprocessing: Callable[[Any], Any],
        prepare_batch: Callable[..., Sequence[Any]],
        inferer: Inferer,
        device: str | torch.device,
        batch_size: int = 64,
        num_workers: int = 0,
        collate: Callable[[list[Any]], Any] = default_collate,
    ) -> None:
        self.network = network
        self.preprocessing = preprocessing
        self.prepare_batch = prepare_batch
        self.inferer = inferer
        self.device = torch.device(device)
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.collate = collate

    def __call__(self, items: Sequence[Mapping[str, Any]]) -> Tensor:
        """Encode: items to features `[N, C]`, float32, on the CPU, in their order; N is 1 or more."""
        loader = DataLoader(
            Dataset(items, self.preprocessing),
            batch_size=self.batch_size,
            num_workers=self.num_workers,
            collate_fn=self.collate,
            generator=torch.Generator(),  # of its own: starting workers moves no other
        )
        self.network.to(self.device)
        with eval_mode(self.network):
            return torch.cat([self._features(batch) for batch in loader])

    def _features(self, batch: Any) -> Tensor:
        image = self.prepare_batch(batch, self.device, non_blocking=True)[0]
        return self.inferer(image, cast(_WithFeatures, self.network).features).float().cpu()
