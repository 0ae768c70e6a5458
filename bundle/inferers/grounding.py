"""Phrases shown on radiographs: heat maps of a vision-language model in the image's own geometry."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bundle.data.errors import DataError
from bundle.data.phrases import Phrase
from bundle.inferers.map_processing import Bilinear, Contrast, GaussianSmoothing, Plain, Upsampling, in_original
from bundle.inferers.map_sources import MapSource, ValuePatches
from bundle.inferers.vision_language import VisionLanguageModel
from bundle.transforms.moved import moved

__all__ = ["GroundingModel"]


class GroundingModel(nn.Module):
    """Maps where on a radiograph a phrase is seen.

    Args:
        model: the vision-language model.
        source: what of it is compared with a phrase; by default `ValuePatches`.
        query: what a phrase's map is made of: `Plain` (default) or `Contrast`.
        smoothing: of the map of patches; by default none.
        upsampling: to the pixels of the square and of the original; by default `Bilinear`.

    Example:
        >>> from bundle.inferers.grounding import GroundingModel
        >>> from bundle.inferers.vision_language import VisionLanguageModel
        >>> grounding = GroundingModel(VisionLanguageModel.from_run("runs/pretrain/g2d"))  # doctest: +SKIP
        >>> (maps,) = grounding.heat_maps(["chest.dcm"], ["There is a left pleural effusion."])  # doctest: +SKIP
        >>> maps.shape  # doctest: +SKIP
        (1, 3056, 2544)
    """

    def __init__(
        self,
        model: VisionLanguageModel,
        source: MapSource | None = None,
        query: Plain | Contrast | None = None,
        smoothing: GaussianSmoothing | None = None,
        upsampling: Upsampling | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self.source = source or ValuePatches()
        self.query = query or Plain()
        self.smoothing = smoothing
        self.upsampling = upsampling or Bilinear()

    @torch.no_grad()
    def forward(self, image: Tensor, phrases: Sequence[Sequence[Phrase]]) -> Tensor:
        """Make the maps of a batch.

        Args:
            image: `[B, 1, S, S]`, normalised as by `VisionLanguageModel.prepare`.
            phrases: for each image P phrases.

        Returns:
            `[B, P, S, S]` fp32 in [-1, 1], padding of the square included.

        Raises:
            DataError: the query needs sentences that a phrase hasn't.
        """
        groups = [[self.query.ensembles(phrase) for phrase in of_image] for of_image in phrases]
        text = self._embed([group for of_image in groups for of_phrase in of_image for group in of_phrase])
        count, each = len(groups[0]), len(groups[0][0])
        maps = self.source(self.model, image, text.unflatten(0, (len(image), count * each)))
        maps = self.query.join(maps.unflatten(1, (count, each)))
        if self.smoothing is not None:
            maps = self.smoothing(maps)
        if maps.shape[-2:] == image.shape[-2:]:
            return maps
        return moved(self.upsampling(maps, (image.shape[-2], image.shape[-1])), self.model.cell_offset)

    def heat_maps(self, paths: Sequence[str | os.PathLike[str]], phrases: Sequence[str | Phrase]) -> list[np.ndarray]:
        """Map every phrase on every radiograph.

        Args:
            paths: DICOM, PNG, JPEG or NIfTI files.
            phrases: P sentences, worded as reports are.

        Returns:
            For each file a map a phrase, float32 `[P, H, W]` in the file's own size, upright; nan in black borders,
            which the model does not see.

        Raises:
            DataError: a file can't be used, or there is no phrase, or one is empty.
        """
        if not phrases:
            raise DataError("there is no phrase to look for: give at least one, such as 'left pleural effusion'")
        asked = [phrase if isinstance(phrase, Phrase) else Phrase((phrase,)) for phrase in phrases]
        return [self._heat_maps_of(path, asked) for path in paths]

    def _heat_maps_of(self, path: str | os.PathLike[str], phrases: Sequence[Phrase]) -> np.ndarray:
        square, geometry = self.model.load(path)
        image = self.model.prepare(torch.from_numpy(np.ascontiguousarray(square))[None, None])
        maps = self(image, [phrases])[0]
        return in_original(maps, geometry, self.upsampling).cpu().numpy()

    def _embed(self, groups: Sequence[tuple[str, ...]]) -> Tensor:
        """Mean direction of the sentences of each group, `[N, D]` of length 1; each sentence is embedded once."""
        texts = {text: number for number, text in enumerate(dict.fromkeys(text for group in groups for text in group))}
        embedded = self.model.embed_texts(list(texts))
        means = [embedded[[texts[text] for text in group]].mean(0) for group in groups]
        return F.normalize(torch.stack(means), dim=-1)
