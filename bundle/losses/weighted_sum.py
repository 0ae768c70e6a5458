"""A weighted sum of named losses that keeps each term for the log."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

__all__ = ["WeightedSum"]


class WeightedSum(nn.Module):
    """Sum of named losses, each called with the same prediction and target.

    Args:
        terms: the losses by name; each maps (prediction, target) to a scalar.
        weights: weight of each term; 1 where not given.

    Attributes:
        last: the unweighted value of each term of the latest call, detached, still on the device.

    Raises:
        ValueError: when a weight names no term.
    """

    def __init__(self, terms: Mapping[str, nn.Module], weights: Mapping[str, float] | None = None) -> None:
        super().__init__()
        self.terms = nn.ModuleDict(terms)
        self.weights = dict.fromkeys(self.terms, 1.0) | dict(weights or {})
        if unknown := self.weights.keys() - self.terms.keys():
            raise ValueError(f"weights for losses that do not exist: {sorted(unknown)}; there are {sorted(self.terms)}")
        self.paused: set[str] = set()
        self.last: dict[str, Tensor] = {}

    def pause(self, name: str, paused: bool = True) -> None:
        """Leave a term out of the sum, or take it in again.

        Raises:
            ValueError: when there is no such term.
        """
        if name not in self.terms:
            raise ValueError(f"there is no loss called '{name}' to pause; there are {sorted(self.terms)}")
        (self.paused.add if paused else self.paused.discard)(name)

    def forward(self, prediction: dict[str, Tensor], target: dict[str, Tensor]) -> Tensor:
        """Compute every term that is not paused and return their weighted sum, a scalar."""
        active = [name for name in self.terms if name not in self.paused]
        values = {name: self.terms[name](prediction, target) for name in active}
        self.last = {name: value.detach() for name, value in values.items()}
        return sum(self.weights[name] * value for name, value in values.items())
