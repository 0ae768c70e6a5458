"""A pre-trained network that judges whether an image and a text belong together, in use."""

from __future__ import annotations

import os
from typing import Any

import torch
from torch import Tensor, nn

from bundle.inferers.autocast import AutocastInferer
from bundle.inferers.pretraining_run import PretrainingRun
from bundle.networks.weights.errors import WeightsError

__all__ = ["MatchingModel"]


class MatchingModel(nn.Module):
    """A trained network with a matching head, the precision it runs in, and what its inputs go through.

    Images and texts are encoded apart, each once, and only then joined: streams of both may be kept and paired at will.
    Nothing is trained: the network stays in eval mode, and its parameters have no gradients.

    Args:
        network: a `bundle.networks.nets.m3ae.M3AE`, or what has its `encode_image`, `encode_text` and `match`.
        image_size: S, side in px of what the network reads.
        fitted_size: side in px that radiographs are fitted to before their central S x S is cut out; None: S.
        fit_mode: "pad" or "stretch".
        image_mean: mean of the images in [0, 1] that normalisation subtracts.
        image_std: standard deviation that it divides by.
        max_length: tokens of a text; longer ones are cut.
        precision: `bf16`, `fp16` or `fp32`, of the network and of the streams; scores are fp32 always.
        device: where the network is put; None: CUDA if there is one, else the CPU.

    Example:
        >>> model = MatchingModel.from_run("runs/pretrain/m3ae")  # doctest: +SKIP
        >>> images, texts = model.encode_image(image), model.encode_text(input_ids, mask)  # doctest: +SKIP
        >>> model.match(images, texts, mask == 0).shape  # doctest: +SKIP
        torch.Size([8])
    """

    def __init__(
        self,
        network: nn.Module,
        image_size: int,
        fitted_size: int | None = None,
        fit_mode: str = "pad",
        image_mean: float = 0.449,
        image_std: float = 0.226,
        max_length: int = 64,
        precision: str = "fp32",
        device: str | torch.device | None = None,
    ) -> None:
        super().__init__()
        device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        self.network: Any = network.to(device).eval().requires_grad_(False)
        self.image_size = image_size
        self.fitted_size = fitted_size or image_size
        self.fit_mode = fit_mode
        self.image_mean = image_mean
        self.image_std = image_std
        self.max_length = max_length
        self._call = AutocastInferer(precision)
        self.eval()

    @classmethod
    def from_run(
        cls,
        folder: str | os.PathLike[str],
        device: str | torch.device | None = None,
        precision: str | None = None,
        tokenizer: str | os.PathLike[str] | None = None,
    ) -> MatchingModel:
        """Load what a run with a matching head left; its store is not needed.

        Args:
            folder: the run's folder, with `config.yaml` and `models/`.
            device: None: CUDA if there is one, else the CPU.
            precision: None: that of training.
            tokenizer: local folder or hub name of the tokenizer of the texts that will come; None: the run's own.

        Raises:
            WeightsError: if the folder holds no finished run with a matching head, or weights that do not fit.
            DataError: if there is no tokenizer, or another one than in training.
        """
        run = PretrainingRun(folder)
        precision = precision or run.precision
        network = run.network(precision)
        if not callable(getattr(network, "match", None)):
            raise WeightsError(
                f"{folder}: the network of this run has no matching head to judge pairs by; give a run of "
                "configs/method_m3ae.yaml or configs/train_matching.yaml."
            )
        run.tokenizer(tokenizer)
        store = run.card.get("store") or {}
        return cls(
            network,
            image_size=run.card["image_size"],
            fitted_size=store.get("size"),
            fit_mode=store.get("fit", "pad"),
            image_mean=run.card["image_mean"],
            image_std=run.card["image_std"],
            max_length=run.max_length,
            precision=precision,
            device=device,
        )

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self.network.parameters()).device

    def train(self, mode: bool = True) -> MatchingModel:
        """Stay in eval mode, whatever is asked for."""
        return super().train(False)

    def blank_image(self) -> Tensor:
        """A normalised image `[1, 1, S, S]`, fp32, that is black all over."""
        black = torch.zeros(1, 1, self.image_size, self.image_size, device=self.device)
        return (black - self.image_mean) / self.image_std

    def encode_image(self, image: Tensor) -> Tensor:
        """Streams `[B, 1 + N, D]` of normalised images `[B, 1, S, S]`, in the model's precision."""
        return self._kept(self._call(image, self.network.encode_image))

    def encode_text(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Streams `[B, L, D]` of texts, right padded, in the model's precision; both arguments int64 `[B, L]`."""
        return self._kept(self._call(input_ids, self.network.encode_text, attention_mask))

    def match(self, images: Tensor, texts: Tensor, padding: Tensor | None = None) -> Tensor:
        """Judge pairs of streams.

        Args:
            images: `[B, 1 + N, D]`, as of `encode_image`.
            texts: `[B, L, D]`, as of `encode_text`.
            padding: bool `[B, L]`, true for padding of texts; None: no padding.

        Returns:
            fp32 `[B]`, the logit of their belonging together.
        """
        scores: Tensor = self._call(images, self.network.match, texts, padding)
        return scores.float()

    def _kept(self, streams: Tensor) -> Tensor:
        """Streams as they are kept: layers of reduced precision would round them anyway."""
        return streams.to(self._call.dtype or streams.dtype)
