"""Training as MONAI Label starts it from a bundle's `train.json`, without its server."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from monai.bundle import ConfigParser
from PIL import Image

FEW = "batch_size: 2\nprecision: fp32\n"
"""An overlay that all trainings of the tests have, as a file of the bundle's configs."""


def write_pairs(folder: Path, count: int) -> list[dict[str, str]]:
    """Films of 64 px with a bright rectangle, and their masks."""
    items = []
    for number in range(count):
        pixels = np.full((64, 64), 40, np.uint8)
        pixels[20:40, 10 + number : 30] = 200
        image, label = folder / f"film{number}.png", folder / f"mask{number}.png"
        Image.fromarray(pixels).save(image)
        Image.fromarray((pixels > 100).astype(np.uint8)).save(label)
        items.append({"image": str(image), "label": str(label)})
    return items


def train(
    root: Path,
    items: Sequence[Mapping[str, str]],
    validation: Sequence[Mapping[str, str]] = (),
    start: Path | None = None,
    values: Mapping[str, Any] | None = None,
) -> None:
    """Two epochs.

    Args:
        root: folder of the bundle.
        items: pairs of image and label.
        validation: likewise.
        start: weights to begin with.
        values: what else to change in `train.json`.
    """
    (root / "configs" / "few.yaml").write_text(FEW, encoding="utf-8")
    config: dict[str, Any] = json.loads((root / "configs" / "train.json").read_text(encoding="utf-8"))
    handlers = [{"_target_": "CheckpointLoader", "load_path": str(start), "load_dict": {"model": "$@network"}}]
    config["overlays"].append("few.yaml")
    config |= {"bundle_root": str(root), "device": "cpu", **(values or {})}
    config["train"]["dataset"]["data"], config["train"]["trainer"]["max_epochs"] = list(items), 2
    config["train"]["handlers"] = handlers if start else []
    config["validate"]["dataset"]["data"] = list(validation)
    parser = ConfigParser(config)
    parser.parse()
    parser.get_parsed_content("run::0")
