"""The network of inference with its weights as one `torch.export` program."""

from __future__ import annotations

from pathlib import Path

import torch
from monai.bundle import ConfigParser

from bundle.data.errors import DataError
from bundle.handlers.atomic import replacing
from bundle.networks.weights.checkpoint import load_weights

__all__ = ["export_program"]


def export_program(root: Path, weights: Path, out: Path) -> None:
    """Export the network of `configs/inference.json` for any number of images of its size.

    Args:
        root: of the bundle.
        weights: what it is loaded with, strictly.
        out: the file, ending in `.pt2`: `torch.export.load(out).module()` maps `[B, 1, S, S]` to `[B, 1 + K, S, S]`.

    Raises:
        WeightsError: the weights can't be read or don't fit.
        DataError: `out` does not end in `.pt2`.
    """
    if out.suffix != ".pt2":
        raise DataError(f"{out}: an exported program's name ends in .pt2")
    parser = ConfigParser()
    parser.read_config(str(root / "configs" / "inference.json"))
    network = parser.get_parsed_content("network_def").eval()
    load_weights(network, weights)
    side = parser.get_parsed_content("image_size")
    # Two images, since an example of one would fix their number.
    example = torch.zeros(2, 1, side, side)
    batch = torch.export.Dim("batch", max=1024)
    with torch.no_grad():
        program = torch.export.export(network, (example,), dynamic_shapes=({0: batch},))
    with replacing(out) as partial:
        torch.export.save(program, partial)
