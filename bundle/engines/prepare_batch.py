"""From a batch of the packed store to a network's input, its target and its keyword arguments."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from .prepare_images import Augment, PrepareAugmented

__all__ = ["PrepareReportBatch"]

Thin = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor, list[int]]]
Judge = Callable[[Tensor, Tensor, Tensor], Tensor]


class PrepareReportBatch(PrepareAugmented):
    """Move pairs to the device, augment them there and normalise.

    Bytes travel, floats are made on the device; report lengths stay on the host, where the text encoder reads them
    without waiting.

    Args:
        mean: as of `PrepareImages`.
        std: as of `PrepareImages`.
        augment: maps image `[B, 1, S, S]` in [0, 1] and body `[B, 1, S, S]` (bool) to the same of the network's size.
        thin: maps `input_ids`, `attention_mask` and `sentence` to shortened ids, mask and lengths, on the host.
        abnormal: maps the same three, of whole reports, to bool `[B]`, true where something is wrong, on the host, as
            `AbnormalReports`.
    """

    def __init__(
        self,
        mean: float,
        std: float,
        augment: Augment | None = None,
        thin: Thin | None = None,
        abnormal: Judge | None = None,
    ) -> None:
        super().__init__(mean, std, augment)
        self.thin = thin
        self.abnormal = abnormal

    def __call__(
        self,
        batchdata: Mapping[str, Any],
        device: str | torch.device | None = None,
        non_blocking: bool = False,
        **kwargs: Any,
    ) -> tuple[Tensor, dict[str, Tensor], tuple, dict[str, Any]]:
        """Prepare a batch of `PackedDataset`.

        Returns:
            The normalised image `[B, 1, S, S]`; the target: `image` in [0, 1] and `body` (bool), augmented, and the
            numbers `index`, `text_id` and `study_id` `[B]`, and `abnormal` `[B]` where that is judged; no positional
            and three keyword arguments of the network.
        """

        def move(x: Tensor) -> Tensor:
            return x.to(device, non_blocking=non_blocking)

        image = self.unit_image(batchdata, device, non_blocking)
        body = move(batchdata["body"])
        if self.augment is not None:
            image, body = self.augment(image, body)
        target = {name: move(batchdata[name]) for name in ("index", "text_id", "study_id")}
        if self.abnormal is not None:
            reports = (batchdata[name] for name in ("input_ids", "attention_mask", "sentence"))
            target["abnormal"] = move(self.abnormal(*reports))
        words = self.words(batchdata)
        text = {name: move(value) if isinstance(value, Tensor) else value for name, value in words.items()}
        return self.normalised(image), target | {"image": image, "body": body}, (), text

    def words(self, batchdata: Mapping[str, Any]) -> dict[str, Any]:
        """Keyword arguments of the network, on the host: `input_ids`, `attention_mask` `[B, L]`, and `lengths`."""
        ids, mask, lengths = batchdata["input_ids"], batchdata["attention_mask"], batchdata["lengths"]
        if self.thin is not None:
            ids, mask, lengths = self.thin(ids, mask, batchdata["sentence"])
        return {"input_ids": ids, "attention_mask": mask, "lengths": lengths}
