"""The frozen encoders of a config, and what their inputs go through."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from monai.bundle import ConfigParser
from torch import Tensor

from bundle.data.errors import DataError
from bundle.data.packed import PackedDataset
from bundle.engines.prepare_batch import PrepareReportBatch
from bundle.handlers.plain_errors import plain_cause
from bundle.inferers.autocast import AutocastInferer
from bundle.networks.encoders.encoder_identity import encoder_identity
from bundle.transforms.batch_augment import CenterCrop

__all__ = ["EncoderPair", "load_encoders"]

_NEEDED = (
    *("frozen_image", "frozen_text", "precision"),
    *("crop_size", "image_mean", "image_std", "max_length", "tokenizer", "seed"),
)


@dataclass(frozen=True, eq=False)
class EncoderPair:
    """Two frozen encoders on their device, and how they are called.

    Attributes:
        image: maps normalised images `[B, 1, S, S]` to features `[B, T, C]`, pooled first.
        text: maps `input_ids`, `attention_mask` and `lengths` to features `[B, 1 + L, C]`, pooled first.
        preprocessing: `size`, `crop`, `mean`, `std` and `max_length`, as the manifest keeps them.
        precision: `bf16` or `fp32`, inside the encoders.
        device: where they are.
        tokens: whether all positions are wanted, or the pooled one.
    """

    image: Any
    text: Any
    preprocessing: dict[str, Any]
    precision: str
    device: torch.device
    tokens: bool

    def identity(self) -> dict[str, Any]:
        """What the features follow from, beside the images and reports."""
        return {
            "encoders": {"image": encoder_identity(self.image), "text": encoder_identity(self.text)},
            "preprocessing": self.preprocessing,
            "precision": self.precision,
            "content": "tokens" if self.tokens else "pooled",
        }

    @torch.inference_mode()
    def encode_images(self, batch: Mapping[str, Any]) -> Tensor:
        """Features `[B, T, C]` float16 of a batch of a `PackedDataset`, on the device."""
        size, mean, std = (self.preprocessing[name] for name in ("size", "mean", "std"))
        prepare = PrepareReportBatch(mean, std, CenterCrop(size))
        image = prepare(batch, self.device, non_blocking=True)[0]
        return self._wanted(AutocastInferer(self.precision)(image, self.image))

    @torch.inference_mode()
    def encode_reports(self, reports: Mapping[str, Any]) -> Tensor:
        """Features `[B, L, C]` float16 of reports as `PackedDataset.reports` gives them, on the device."""
        ids, mask = (reports[name].to(self.device, non_blocking=True) for name in ("input_ids", "attention_mask"))
        return self._wanted(AutocastInferer(self.precision)(ids, self.text, mask, reports["lengths"]))

    def _wanted(self, features: Tensor) -> Tensor:
        return (features if self.tokens else features[:, :1]).half()


def load_encoders(
    files: Sequence[str], values: Mapping[str, Any], store: PackedDataset, device: torch.device, tokens: bool
) -> EncoderPair:
    """Makes the encoders that a config names `frozen_image` and `frozen_text`.

    Args:
        files: configs, merged in this order.
        values: ids of them with other values.
        store: packed store that is encoded; its tokenizer sets the vocabulary.
        device: where they go.
        tokens: whether all positions are wanted.

    Raises:
        DataError: the config lacks an id or a given one is unknown, its images are larger than those of the store,
            its tokenizer is another one, or an encoder cannot be made.
    """
    parser = _parser(files, values, store)
    size, mean, std, max_length, tokenizer = (
        parser.get_parsed_content(name) for name in ("crop_size", "image_mean", "image_std", "max_length", "tokenizer")
    )
    packed = store.manifest["parameters"]["size"]
    if size > packed:
        raise DataError(f"{store.root}: its images have {packed} px, fewer than the {size} of crop_size")
    PackedDataset(store.root, store.split, tokenizer=tokenizer)  # or another one is refused
    torch.manual_seed(parser.get_parsed_content("seed"))  # for encoders without weights: the same in every process
    image, text = (_made(parser, name).to(device).eval() for name in ("frozen_image", "frozen_text"))
    preprocessing = {"size": size, "crop": "centre", "mean": mean, "std": std, "max_length": max_length}
    return EncoderPair(image, text, preprocessing, parser.get_parsed_content("precision"), device, tokens)


def _parser(files: Sequence[str], values: Mapping[str, Any], store: PackedDataset) -> ConfigParser:
    """The config, for the vocabulary of a store."""
    parser = ConfigParser()
    parser.read_config(list(files))
    if missing := [name for name in _NEEDED if name not in parser]:
        raise DataError(
            f"{', '.join(files)}: the config has no {', '.join(missing)}; add configs/method_adaptor.yaml to it"
        )
    if unknown := [name for name in values if name.replace("::", "#").split("#")[0] not in parser]:
        raise DataError(f"--{unknown[0]}: neither an option of this command nor an id of the config")
    parser.update({"vocab_size": store.manifest["tokenizer"]["vocab_size"], **values})
    return parser


def _made(parser: ConfigParser, name: str) -> Any:
    """An encoder of the config; MONAI wraps what goes wrong in an error of its own."""
    try:
        return parser.get_parsed_content(name)
    except RuntimeError as error:
        cause = plain_cause(error)
        if cause is None:
            raise
        raise DataError(f"{name}: {cause}") from error
