"""Films with a bright rectangle that can be learnt, and the answers that they get without a server."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from monai.bundle import ConfigParser

ROOT = Path(__file__).resolve().parents[2]

DARK, BRIGHT = 60, 220


def film(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A noisy film [150, 200] with a bright rectangle, and where that is.

    Black and white are in it, so that every kind of file shows the same greys.
    """
    random = np.random.default_rng(seed)
    top, left = random.integers(10, 60), random.integers(10, 90)
    inside = np.zeros((150, 200), dtype=bool)
    inside[top : top + 70, left : left + 80] = True
    grey = np.where(inside, BRIGHT, DARK) + random.integers(-15, 16, inside.shape)
    grey[0, :2] = 0, 255
    return grey.astype(np.uint8), inside


def direct(paths: Mapping[str, Path], weights: Path) -> dict[str, np.ndarray]:
    """Label maps [H, W] by the transforms and the network of `inference.json`, without a server."""
    parser = _inference()
    network = parser.get_parsed_content("network_def").eval()
    network.load_state_dict(torch.load(weights, weights_only=True))
    before, after = parser.get_parsed_content("preprocessing"), parser.get_parsed_content("postprocessing")
    maps = {}
    for name, path in paths.items():
        item = before({"image": str(path)})
        with torch.no_grad():
            item["pred"] = network(item["image"][None])[0]
        maps[name] = after.transforms[0](item)["pred"]
    return maps


def undecided_weights(path: Path, image: Path) -> Path:
    """Weights that nothing was taught, whose answer on an image is about half of its pixels."""
    torch.manual_seed(0)
    parser = _inference()
    network = parser.get_parsed_content("network_def").eval()
    item = parser.get_parsed_content("preprocessing")({"image": str(image)})
    with torch.no_grad():
        median = network(item["image"][None])[0, 1].median()
        network.decoder.head.bias -= median
    torch.save(network.state_dict(), path)
    return path


def dice(found: np.ndarray, true: np.ndarray) -> float:
    """Of two masks [H, W]."""
    return float(2 * (found & true).sum() / (found.sum() + true.sum()))


def _inference() -> ConfigParser:
    parser = ConfigParser()
    parser.read_config(str(ROOT / "configs" / "inference.json"))
    return parser
