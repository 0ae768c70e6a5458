"""Every image of a packed store judged with every distinct text of it, each of them encoded once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bundle.data.packed import PackedDataset
from bundle.inferers.matching_model import MatchingModel

__all__ = ["PairMatcher"]


@dataclass(frozen=True)
class _Texts:
    """Texts of like length: streams `[T, L, D]` and, where some are padded, where: bool `[T, L]`."""

    streams: Tensor
    padding: Tensor | None


class PairMatcher(nn.Module):
    """Judges images with all texts.

    Texts are encoded at the first image and their streams kept, which takes M * L * D numbers; images pass by. Pairs
    are fused in blocks of the images of a batch and some texts of like length, padded to the longest of the block
    alone, so that memory grows with neither the number of images nor, beyond the texts' streams, of texts.

    Args:
        model: what judges.
        dataset: whose texts these are; equal ones are one text, in the place of the first.
        texts_at_once: texts of a block.
        kept_on: device on which the texts' streams are kept; None: the model's.

    Attributes:
        rows: of the data set where the M different texts occur first, in the order of the columns of scores.
        text_id: `[M]` int64, the numbers of these texts.

    Example:
        >>> model = MatchingModel.from_run("runs/pretrain/m3ae")  # doctest: +SKIP
        >>> matcher = PairMatcher(model, PackedDataset("stores/phantoms", "test"))  # doctest: +SKIP
        >>> matcher(images)["scores"].shape == (len(images), len(matcher.text_id))  # doctest: +SKIP
        True
    """

    def __init__(
        self,
        model: MatchingModel,
        dataset: PackedDataset,
        texts_at_once: int = 16,
        kept_on: str | torch.device | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self.dataset = dataset
        self.texts_at_once = texts_at_once
        self.kept_on = kept_on
        numbers = dataset.items["text_id"]
        self.rows: list[int] = sorted(np.unique(numbers, return_index=True)[1].tolist())
        self.text_id = torch.from_numpy(numbers[self.rows])
        lengths = dataset.reports(self.rows)["lengths"]
        self._order = sorted(range(len(lengths)), key=lengths.__getitem__)

    @torch.no_grad()
    def forward(self, image: Tensor, **_: Any) -> dict[str, Tensor]:
        """Judge images.

        Args:
            image: `[B, 1, S, S]`, normalised.
            **_: the batch's own texts, which are among all.

        Returns:
            `scores` `[B, M]`, fp32, logits of belonging together.
        """
        images = self.model.encode_image(image)
        scores = torch.cat([self._scores(images, texts) for texts in self._texts], 1)
        return {"scores": scores[:, self._columns]}

    def blank_image(self) -> Tensor:
        """Scores `[M]` of an image that is black all over."""
        return self(self.model.blank_image())["scores"][0]

    def _scores(self, images: Tensor, texts: _Texts) -> Tensor:
        """Scores `[B, T]` of a block, its pairs image by image."""
        count, each = len(images), len(texts.streams)
        streams = texts.streams.to(images.device, non_blocking=True).repeat(count, 1, 1)
        padding = None if texts.padding is None else texts.padding.repeat(count, 1)
        return self.model.match(images.repeat_interleave(each, 0), streams, padding).view(count, each)

    @cached_property
    def _columns(self) -> Tensor:
        """Where the score of each text is in a row of scores of all blocks."""
        return torch.tensor(self._order).argsort().to(self.model.device)

    @cached_property
    def _texts(self) -> list[_Texts]:
        return list(self._encoded())

    def _encoded(self) -> Iterator[_Texts]:
        """All texts, the shortest first."""
        device = self.model.device
        for start in range(0, len(self._order), self.texts_at_once):
            block = self._order[start : start + self.texts_at_once]
            reports = self.dataset.reports([self.rows[number] for number in block])
            mask = reports["attention_mask"].to(device)
            streams = self.model.encode_text(reports["input_ids"].to(device), mask).to(self.kept_on or device)
            yield _Texts(streams, mask == 0 if min(reports["lengths"]) < mask.shape[1] else None)
