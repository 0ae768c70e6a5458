"""A finished M3AE pre-training run, small enough to be made in seconds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn
from workflows import NO_DROPOUT, workflow

M3AE = ("pretrain", "method_m3ae", "demo")

SMALL: dict[str, Any] = {
    "name": "m3ae",
    "tokenizer": None,
    "image_weights": None,
    "max_length": 256,
    "learning_rate": 1e-3,
    "text_source": NO_DROPOUT["text_source"],
    "vision_transformer": {
        "image_size": "@crop_size", "patch_size": 16, "in_channels": 1, "width": 16, "depth": 2, "heads": 2, "mlp": 32,
    },
    "fusion": {"width": 24, "steps": 2, "heads": 2, "mlp": 32},
    "image_decoder": {"width": 16, "depth": 1, "heads": 2, "mlp": 32},
    "image_step": 1,
    "thin_reports": None,
}  # fmt: skip
"""Values that make of it a network of a few thousand parameters, without dropout."""


def m3ae_run(
    store: Path, output: Path, values: Mapping[str, Any] | None = None, epochs: int = 1
) -> tuple[Path, nn.Module]:
    """Train a tiny M3AE on the phantoms.

    Args:
        store: the packed store.
        output: what stands for `runs`.
        values: further overrides.
        epochs: how long.

    Returns:
        The run's folder, and the network as it was at the end, in eval mode.
    """
    given = {**SMALL, "max_epochs": epochs, "val_interval": epochs, **(values or {})}
    with workflow(store, output, M3AE, given) as made:
        made.run()
        return output / "pretrain" / "m3ae", made.parser.get_parsed_content("network_def").eval()
