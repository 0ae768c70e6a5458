"""A pre-trained vision-language model in use: radiographs and sentences to vectors of one space."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bundle.data.errors import DataError
from bundle.data.radiograph_reader import read_radiograph
from bundle.inferers.autocast import AutocastInferer
from bundle.inferers.pretraining_run import PretrainingRun
from bundle.networks.encoders.cell_offset import cell_offset
from bundle.networks.encoders.image_encoder import ImageEncoder
from bundle.networks.weights.errors import WeightsError
from bundle.transforms.centre_crop import crop_centre
from bundle.transforms.geometry import Geometry, fit

__all__ = ["VisionLanguageModel"]

_AT_ONCE = 32  # images or texts


class VisionLanguageModel(nn.Module):
    """A trained network with all that its inputs go through: fitting, normalisation, tokenizer, precision.

    Nothing is trained: the network stays in eval mode, and its parameters have no gradients.

    Args:
        network: a `bundle.networks.nets.g2d.G2D`, or what has its `encode_image`, `embed_image` and `encode_text`.
        tokenizer: the one it was trained with.
        image_size: S, side in px of what the network reads.
        fitted_size: side in px that radiographs are fitted to before their central S x S is cut out, as in
            pre-training; None: S.
        fit_mode: "pad" or "stretch".
        image_mean: mean of the images in [0, 1] that normalisation subtracts.
        image_std: standard deviation that it divides by.
        max_length: tokens of a text; longer ones are cut.
        precision: `bf16`, `fp16` or `fp32`, inside the network; vectors are fp32 always.
        device: where the network is put; None: CUDA if there is one, else the CPU.

    Example:
        >>> model = VisionLanguageModel.from_run("runs/pretrain/g2d")  # doctest: +SKIP
        >>> images = model.embed_files(["chest.dcm"])  # doctest: +SKIP
        >>> images @ model.embed_texts(["There is a left pleural effusion."]).T  # doctest: +SKIP
    """

    def __init__(
        self,
        network: nn.Module,
        tokenizer: Any,
        image_size: int,
        fitted_size: int | None = None,
        fit_mode: str = "pad",
        image_mean: float = 0.449,
        image_std: float = 0.226,
        max_length: int = 256,
        precision: str = "fp32",
        device: str | torch.device | None = None,
    ) -> None:
        super().__init__()
        device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        self.network: Any = network.to(device).eval().requires_grad_(False)
        self.tokenizer = tokenizer
        self.image_size = image_size
        self.fitted_size = fitted_size or image_size
        self.fit_mode: Any = fit_mode
        self.image_mean = image_mean
        self.image_std = image_std
        self.max_length = max_length
        self.precision = precision
        self._call = AutocastInferer(precision)
        self.card: dict[str, Any] = {}
        self.eval()

    @classmethod
    def from_run(
        cls,
        folder: str | os.PathLike[str],
        device: str | torch.device | None = None,
        precision: str | None = None,
        tokenizer: str | os.PathLike[str] | None = None,
    ) -> VisionLanguageModel:
        """Load what a run of `configs/pretrain.yaml` left; neither its store nor any download is needed.

        Args:
            folder: the run's folder, with `config.yaml` and `models/`.
            device: None: CUDA if there is one, else the CPU.
            precision: None: that of training.
            tokenizer: local folder or hub name; None: the copy in `models/tokenizer`.

        Raises:
            WeightsError: if the folder holds no finished run with a text encoder, or weights that do not fit, or a
                network that gives no vectors of images and texts.
            DataError: if there is no tokenizer, or another one than in training.
        """
        run = PretrainingRun(folder)
        store = run.card.get("store") or {}
        precision = precision or run.precision
        network = run.network(precision)
        if not hasattr(network, "embed_image"):
            raise WeightsError(
                f"{folder}: the run's {type(network).__name__} gives no vectors of images and texts to be compared: "
                "name a run of G2D or Adaptor, or rank this one's pairs with configs/evaluate_matching.yaml."
            )
        model = cls(
            network,
            run.tokenizer(tokenizer),
            image_size=run.card["image_size"],
            fitted_size=store.get("size"),
            fit_mode=store.get("fit", "pad"),
            image_mean=run.card["image_mean"],
            image_std=run.card["image_std"],
            max_length=run.max_length,
            precision=precision,
            device=device,
        )
        model.card = run.card
        return model

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self.network.parameters()).device

    @cached_property
    def cell_offset(self) -> int:
        """How far in px the cells of its maps look down and right of the middle of their blocks."""
        encoder = getattr(self.network, "image_encoder", None)
        return cell_offset(encoder, (self.image_size, self.image_size)) if isinstance(encoder, ImageEncoder) else 0

    def train(self, mode: bool = True) -> VisionLanguageModel:
        """Stay in eval mode, whatever is asked for."""
        return super().train(False)

    def load(self, path: str | os.PathLike[str]) -> tuple[np.ndarray, Geometry]:
        """Read a radiograph as validation in pre-training does.

        Args:
            path: DICOM, PNG, JPEG or NIfTI.

        Returns:
            The square, uint8 `[S, S]`, and how the original lies in it.

        Raises:
            DataError: if the file cannot be used.
        """
        radiograph = read_radiograph(os.fspath(path), 2 * self.fitted_size)
        square, geometry = fit(radiograph.pixels, self.fitted_size, self.fit_mode, radiograph.size)
        return crop_centre(square, geometry, self.image_size)

    def prepare(self, images: Tensor) -> Tensor:
        """Normalise uint8 images `[B, 1, S, S]`, moved to the device, to fp32 `[B, 1, S, S]`."""
        return (images.to(self.device).float() / 255 - self.image_mean) / self.image_std

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """As `encode_image`: what an evaluator calls."""
        return self.encode_image(image)

    def encode_image(self, image: Tensor) -> dict[str, Tensor]:
        """All that the network makes of normalised images `[B, 1, S, S]`.

        Returns:
            `image_embedding` `[B, D]` of length 1, fp32; of a G2D also `attention` `[B, heads, h, w]` and, where it has
            a decoder, its `logits` `[B, 1, S, S]`.
        """
        return self._call(image, self.network.encode_image)

    def patches(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Patches `[B, D, h, w]` of normalised images `[B, 1, S, S]`, fp32, not of length 1.

        Returns:
            The patches as projected, and the same sent down the pool's value path; of other networks whatever their
            `encode_patches` gives for these.
        """
        projected, values = self._call(image, self.network.encode_patches)
        return projected.float(), values.float()

    def embed(self, image: Tensor) -> Tensor:
        """Embed normalised images `[B, 1, S, S]` without decoding: `[B, D]` of length 1, fp32."""
        return self._call(image, self.network.embed_image)

    def embed_images(self, images: Tensor) -> Tensor:
        """Embed uint8 images `[B, 1, S, S]`, as `load` makes them: `[B, D]` of length 1, fp32, on the device."""
        return self.embed(self.prepare(images))

    def embed_files(self, paths: Iterable[str | os.PathLike[str]], batch_size: int = _AT_ONCE) -> Tensor:
        """Embed radiographs from files: `[N, D]` of length 1, fp32, on the device.

        Raises:
            DataError: if a file cannot be used, or there is none.
        """
        remaining = iter(paths)
        embedded = []
        while batch := [self.load(path)[0] for path in islice(remaining, batch_size)]:
            embedded.append(self.embed_images(torch.from_numpy(np.stack(batch))[:, None]))
        if not embedded:
            raise DataError("there is no radiograph to embed: give at least one path")
        return torch.cat(embedded)

    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        """Embed texts, each distinct one once; white space is made single, as in packed reports.

        Args:
            texts: N sentences or reports.

        Returns:
            `[N, D]` of length 1, fp32, on the device.

        Raises:
            DataError: if there is none, or one is empty.
        """
        normal = [" ".join(text.split()) for text in texts]
        if not normal:
            raise DataError("there is no text to embed: give at least one")
        if "" in normal:
            raise DataError(f"text {normal.index('')} of {len(normal)} is empty: leave it out or write one")
        distinct = {text: number for number, text in enumerate(dict.fromkeys(normal))}
        embedded = self._embed_distinct(list(distinct))
        return embedded[torch.tensor([distinct[text] for text in normal], device=self.device)]

    def _embed_distinct(self, texts: list[str]) -> Tensor:
        """As `embed_texts`; texts of like length go together, which saves padding."""
        tokens = self.tokenizer(texts, truncation=True, max_length=self.max_length, padding=False)["input_ids"]
        order = sorted(range(len(texts)), key=lambda number: len(tokens[number]))
        batches = [order[start : start + _AT_ONCE] for start in range(0, len(order), _AT_ONCE)]
        embedded = torch.cat([self._embed_tokens([tokens[number] for number in batch]) for batch in batches])
        return embedded[torch.tensor(order, device=self.device).argsort()]

    def _embed_tokens(self, tokens: Sequence[Sequence[int]]) -> Tensor:
        lengths = [len(ids) for ids in tokens]
        filler = int(self.tokenizer.pad_token_id)
        ids = torch.tensor([[*ids, *[filler] * (lengths[-1] - len(ids))] for ids in tokens], device=self.device)
        attention_mask = (torch.arange(lengths[-1]) < torch.tensor(lengths)[:, None]).long().to(self.device)
        return self._call(ids, self.network.encode_text, attention_mask, lengths)
