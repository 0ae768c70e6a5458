"""What frozen encoders of images and of texts have in common: nothing of them is ever trained."""

from __future__ import annotations

from typing import Any, Self

from torch import nn

__all__ = ["FrozenEncoder"]


class FrozenEncoder(nn.Module):
    """An encoder without gradients that stays in evaluation mode, whatever `train` is called with.

    Dropout is off and BatchNorm keeps its statistics, so that what was computed once may be kept.

    Args:
        encoder: what is frozen, in place.
        width: C, size of the features.

    Attributes:
        encoder: the frozen network.
        width: C, size of the features.
    """

    def __init__(self, encoder: nn.Module, width: int) -> None:
        super().__init__()
        self.encoder: Any = encoder.requires_grad_(False)
        self.width = width
        self.eval()

    def train(self, mode: bool = True) -> Self:
        """Stay in evaluation mode, whatever is asked for."""
        return super().train(False)
