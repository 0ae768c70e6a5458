"""The network of `configs/inference.json`, asked about one radiograph at a time."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.bundle import ConfigParser

from bundle.networks.weights.checkpoint import load_weights

__all__ = ["Segmentation", "area_shares"]

_CONFIG = Path(__file__).resolve().parents[2] / "configs" / "inference.json"


class Segmentation:
    """Marks the classes of a network on radiographs, exactly as inference from the config does.

    Args:
        weights: state dict or run's weights that fit the network of the config.

    Attributes:
        classes: names of the K classes.

    Raises:
        WeightsError: the weights can't be read or don't fit.

    Example:
        >>> Segmentation(Path("models/model.pt")).label_map("chest.dcm").shape  # doctest: +SKIP
        (3056, 2544)
    """

    def __init__(self, weights: Path) -> None:
        parser = ConfigParser()
        parser.read_config(str(_CONFIG))
        self.classes: list[str] = parser.get_parsed_content("classes")
        self._device: Any = parser.get_parsed_content("device")
        self._before: Any = parser.get_parsed_content("preprocessing")
        network = parser.get_parsed_content("network_def")
        load_weights(network, weights)
        self._network = network.to(self._device).eval()
        self._inferer: Any = parser.get_parsed_content("inferer")
        self._after: Any = parser.get_parsed_content("postprocessing")

    @torch.inference_mode()
    def label_map(self, path: str | os.PathLike[str]) -> np.ndarray:
        """Segment a DICOM, PNG, JPEG or NIfTI file.

        Args:
            path: the file.

        Returns:
            uint8 `[H, W]` of the file's own size, upright; 0 is background, k the k-th class.

        Raises:
            RuntimeError: the file can't be used; its cause is a `DataError` that says why.
        """
        item = self._before({"image": os.fspath(path)})
        logits = self._inferer(item["image"][None].to(self._device), self._network)[0]
        in_file_axes = np.asarray(self._after({**item, "pred": logits})["pred"])
        return in_file_axes.reshape(in_file_axes.shape[:2]).T


def area_shares(label_map: np.ndarray, classes: Sequence[str]) -> dict[str, float]:
    """The part of an image that each class covers.

    Args:
        label_map: uint8 `[H, W]`, k where the k-th class is.
        classes: names of the K classes.

    Returns:
        By class its pixels divided by all pixels of the image, in [0, 1].

    Example:
        >>> area_shares(np.array([[0, 1], [1, 2]], dtype=np.uint8), ["lung", "heart"])
        {'lung': 0.5, 'heart': 0.25}
    """
    counts = np.bincount(label_map.ravel(), minlength=len(classes) + 1)[1:]
    return {name: int(count) / label_map.size for name, count in zip(classes, counts, strict=True)}
