"""The error of the networks' rooms for weights that cannot be used."""

from __future__ import annotations

__all__ = ["WeightsError"]


class WeightsError(ValueError):
    """Weights are absent, unreadable or do not fit the network; the message names the file and what to do."""
