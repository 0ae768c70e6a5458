"""A finished pre-training run, small enough to be made in seconds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn
from workflows import TINY_TEXT, workflow

SMALL = {**TINY_TEXT, "pa_start_step": 3, "thin_reports": None, "decoder_channels": [16, 8, 8, 8]}

PROJECTED = {"network_def#pool#_target_": "bundle.networks.blocks.attention_pool.AttentionPool"}
"""With projected values the sources `proj` and `value` differ."""


def pretrained_run(
    store: Path, output: Path, values: Mapping[str, Any] | None = None, epochs: int = 1
) -> tuple[Path, nn.Module]:
    """Train a tiny network on the phantoms.

    Args:
        store: the packed store.
        output: what stands for `runs`.
        values: further overrides.
        epochs: how long.

    Returns:
        The run's folder, and the network as it was at the end.
    """
    given = {**SMALL, "max_epochs": epochs, "val_interval": epochs, **(values or {})}
    with workflow(store, output, ("pretrain", "demo"), given) as made:
        made.run()
        return output / "pretrain" / "demo", made.parser.get_parsed_content("network_def").eval()
