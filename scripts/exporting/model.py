"""Weights of a run as the file that MONAI's tools look for."""

from __future__ import annotations

from pathlib import Path

import torch

from bundle.data.errors import DataError
from bundle.handlers.atomic import replacing
from bundle.networks.weights.weights_file import read_weights

__all__ = ["export_model"]


def export_model(source: Path, out: Path) -> int:
    """Write a state dict as a PyTorch file.

    Args:
        source: folder of a supervised run, whose best network is taken, or a weights file.
        out: the file, such as `models/model.pt`.

    Returns:
        Its size in bytes.

    Raises:
        WeightsError: there are no readable weights.
        DataError: `out` does not end in `.pt`.

    Example:
        >>> export_model(Path("runs/segmentation/lungs"), Path("models/model.pt"))  # doctest: +SKIP
    """
    if out.suffix != ".pt":
        raise DataError(f"{out}: MONAI's tools look for weights in a file that ends in .pt")
    weights = read_weights(source / "models" / "best.safetensors" if source.is_dir() else source)
    with replacing(out) as partial:
        torch.save(weights, partial)
    return out.stat().st_size
