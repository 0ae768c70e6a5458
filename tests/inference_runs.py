"""Inference from the bundle's own config, with a network that marks bright pixels and so has a known answer."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.bundle import ConfigWorkflow

CONFIGS = Path(__file__).resolve().parent.parent / "configs"

DARK, BRIGHT = 60, 200
SIDE = 64
"""Of the fitted square; films of 64 rows are not resized, so that answers are exact."""

BRIGHT_PIXELS = {
    "network_def": {"_target_": "torch.nn.Conv2d", "in_channels": 1, "out_channels": 2, "kernel_size": 1},
    "image_size": SIDE,
    "device": "$torch.device('cpu')",
}
"""Values for a network of one layer: the class where a pixel is above half of white, weights see `bright_weights`."""


def bright_weights(path: Path) -> Path:
    """Weights of that layer: the background's logit is 0, the class's 20 times what a pixel is above a half."""
    mean, std = 0.449, 0.226
    weight, bias = torch.zeros(2, 1, 1, 1), torch.zeros(2)
    weight[1], bias[1] = 20 * std, 20 * (mean - 0.5)
    torch.save({"weight": weight, "bias": bias}, path)
    return path


def film(columns: int = 48) -> np.ndarray:
    """A dark film [64, columns] with a bright L that no turn and no mirror maps onto itself."""
    pixels = np.full((SIDE, columns), DARK, np.uint8)
    pixels[10:40, 8:14] = BRIGHT
    pixels[34:40, 8:30] = BRIGHT
    return pixels


def segmented(films: Path, output: Path, weights: Path, values: Mapping[str, Any] | None = None) -> ConfigWorkflow:
    """Run inference on a folder in this process; errors in files are left to be checked by the caller."""
    given = {"dataset_dir": str(films), "output_dir": str(output), "weights": str(weights), **BRIGHT_PIXELS}
    made = workflow({**given, "evaluating": ["$@evaluator.run()"], **(values or {})})
    made.run()
    return made


def workflow(values: Mapping[str, Any]) -> ConfigWorkflow:
    """An initialised workflow of inference; the process's exception hook stays as it is."""
    hook, level = sys.excepthook, logging.getLogger().level
    try:
        made = ConfigWorkflow(
            str(CONFIGS / "inference.json"), workflow_type="infer", logging_file=False, run_id="evaluating", **values
        )
        made.initialize()
    finally:
        sys.excepthook = hook
        logging.getLogger().setLevel(level)
    return made
