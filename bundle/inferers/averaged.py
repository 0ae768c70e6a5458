"""The network in training, and beside it the average of what it has been."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from bundle.inferers.autocast import AutocastInferer

__all__ = ["AveragedInferer"]


class AveragedInferer(AutocastInferer):
    """Call the network and, wherever its decoder runs, its average, which may draw the pseudo masks.

    The average changes slowly, so its masks do not follow each turn of the weights that they train. It costs another
    forward pass.

    Args:
        average: the averaged network; `AverageWeights` keeps it up to date.
        precision: as of `AutocastInferer`.
        attention: as of `AutocastInferer`.

    Reference: mean teacher (arXiv 1703.01780).
    """

    def __init__(self, average: nn.Module, precision: str = "bf16", attention: str | None = None) -> None:
        super().__init__(precision, attention)
        self.average = average

    def __call__(self, inputs: torch.Tensor, network: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Return the network's prediction with that of the average, without gradient, under `averaged`."""
        prediction = super().__call__(inputs, network, *args, **kwargs)
        if "logits" not in prediction:
            return prediction
        with torch.no_grad():
            averaged = super().__call__(inputs, self.average, *args, **kwargs)
        return {**prediction, "averaged": averaged}
