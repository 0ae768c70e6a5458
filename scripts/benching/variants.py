"""The training steps that are compared, built from the configs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser
from monai.engines import SupervisedTrainer

from scripts.benching.clock import StepClock
from scripts.benching.lengths import LONGEST

__all__ = ["BASELINE", "BERT_BASE", "CONFIGS", "VARIANTS", "Settings", "Step", "build_step"]

CONFIGS = Path(__file__).resolve().parents[2] / "configs"

BERT_BASE = {
    "vocab_size": 28_996,
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "max_position_embeddings": 512,
}
"""The size of Bio_ClinicalBERT."""

_AS_PUBLISHED: dict[str, Any] = {
    "network": "$@network_def.to(@device)",  # not channels_last
    "trained_parameters": "$list(@network.parameters())",  # the frozen ones, too
    "optimizer::fused": None,
    "network_def::decoder::_target_": "scripts.benching.published.UpsamplingDecoder",
    "pseudo_mask::area": {"_target_": "scripts.benching.published.PixelQuantileArea"},
    "train::dataset::lengths_known": False,  # so all positions are computed, padding or not
    "train::handlers": ["@clock"],  # the gradient is not measured
}

BASELINE = "released_as_published"
VARIANTS: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    BASELINE: (("preset_released.yaml",), {"precision": "fp32", **_AS_PUBLISHED}),
    "released_fp32": (("preset_released.yaml",), {"precision": "fp32"}),
    "default_fp32": ((), {"precision": "fp32"}),
    "default_bf16": ((), {"precision": "bf16"}),
}
"""By name: the presets on top of `pretrain.yaml`, and what else is overridden."""


@dataclass(frozen=True)
class Settings:
    """What all variants share.

    Attributes:
        batch: pairs a step.
        image: timm's name of the image encoder.
        size: side of the images in pixels.
        device: "cpu" or "cuda".
        threads: threads of a CPU run.
        text: values of the BERT config; the lower three quarters of its layers are frozen, as in G2D.
        max_length: longest report in tokens.
    """

    batch: int = 8
    image: str = "resnet50"
    size: int = 256
    device: str = "cpu"
    threads: int = 1
    text: Mapping[str, int] = field(default_factory=lambda: BERT_BASE)
    max_length: int = LONGEST


@dataclass(frozen=True)
class Step:
    """A trainer whose `run` is one step, and the clock that watches it."""

    trainer: SupervisedTrainer
    clock: StepClock


def build_step(name: str, settings: Settings) -> Step:
    """Builds the training step of a variant.

    Args:
        name: one of `VARIANTS`.
        settings: what all variants share.

    Returns:
        The step, with random weights; its batches are the same for all variants.
    """
    presets, overrides = VARIANTS[name]
    parser = ConfigParser()
    parser.read_config([str(CONFIGS / file) for file in ("pretrain.yaml", *presets)])
    dataset = _dataset(settings, pad_to=parser["train"]["dataset"].get("pad_to"))
    parser.update({**_shared(settings), "train::dataset": dataset, **overrides})
    parser.parse()
    torch.manual_seed(0)
    return Step(parser.get_parsed_content("train::trainer"), parser.get_parsed_content("clock"))


def _dataset(settings: Settings, pad_to: str | None) -> dict[str, Any]:
    return {
        "_target_": "scripts.benching.pairs.SyntheticPairs",
        "count": settings.batch,
        "size": settings.size,
        "vocab_size": "@vocab_size",
        "max_length": "@max_length",
        "pad_to": pad_to,
    }


def _shared(settings: Settings) -> dict[str, Any]:
    """One size of everything, and nothing around the step but what takes its time."""
    clip = {
        "_target_": "bundle.handlers.gradient.ClipGradient",
        "network": "@network",
        "max_norm": "@max_gradient_norm",
    }
    return {
        "image_name": settings.image,
        "image_weights": None,
        "text_source": dict(settings.text),
        "vocab_size": settings.text["vocab_size"],
        "frozen_text_layers": settings.text["num_hidden_layers"] * 3 // 4,
        "crop_size": settings.size,
        "max_length": settings.max_length,
        "batch_size": settings.batch,
        "max_epochs": 1,
        "num_workers": 0,
        "abnormal_reports": None,  # random tokens say nothing
        "pseudo_mask::kept": None,
        "device": f"$torch.device('{settings.device}')",
        "clock": {"_target_": "scripts.benching.clock.StepClock", "network": "@network", "device": "@device"},
        "train::handlers": ["@clock", clip],
        "train::trainer::amp": False,  # the precision is the variant's
    }
