"""Scores of cells by the average of the network's weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

__all__ = ["AveragedScore"]


class AveragedScore:
    """What another source says of the averaged network's prediction (`inferers.averaged`).

    Args:
        source: maps a prediction to scores `[B, h, w]`.
    """

    def __init__(self, source: Callable[[Mapping[str, Any]], Tensor]) -> None:
        self.source = source

    def __call__(self, prediction: Mapping[str, Any]) -> Tensor:
        """Score the cells `[B, h, w]` of `averaged`, itself a prediction."""
        return self.source(prediction["averaged"])
