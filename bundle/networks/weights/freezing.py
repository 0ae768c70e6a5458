"""Networks of which some parts are trained and others are not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Self, get_args

from torch import nn

__all__ = ["FreezableNetwork", "Statistics"]

Statistics = Literal["fixed", "drifting"]


class FreezableNetwork(nn.Module):
    """A network whose direct children, its parts, can be frozen by name.

    Frozen parts need no gradient, so that under DDP they take part in no reduction and nothing waits for them.
    """

    def __init__(self) -> None:
        super().__init__()
        self._fixed: frozenset[str] = frozenset()

    def freeze(self, parts: Sequence[str], statistics: Statistics = "fixed") -> Self:
        """Freeze the parameters of some parts, for good; parts frozen before stay so.

        Args:
            parts: names of children, such as `["image_encoder"]`; none changes nothing.
            statistics: "fixed": the parts stay in evaluation mode, whatever `train` is called with, so that BatchNorm
                keeps its statistics and dropout is off. "drifting": they follow `train`; BatchNorm normalises by the
                batch and its running statistics drift with the new data, as in the public code of MGCA.

        Returns:
            The network itself.

        Raises:
            ValueError: if there is no such part, or `statistics` is another word; nothing is frozen then.

        Example:
            >>> network = Segmenter(image_encoder, decoder).freeze(["image_encoder"])
            >>> network.train().image_encoder.training
            False
        """
        children = dict(self.named_children())
        if unknown := [name for name in parts if name not in children]:
            raise ValueError(
                f"{type(self).__name__} has no part {unknown[0]!r} to freeze; give a list of some of "
                f"{', '.join(children)}."
            )
        if statistics not in get_args(Statistics):
            raise ValueError(
                f"The statistics of frozen parts are one of {', '.join(get_args(Statistics))}, not {statistics!r}."
            )
        for name in parts:
            children[name].requires_grad_(False)
        self._fixed = self._fixed | set(parts) if statistics == "fixed" else self._fixed - set(parts)
        return self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        """Set training or evaluation mode, except for parts frozen with fixed statistics, which stay in the latter."""
        super().train(mode)
        for name in self._fixed:
            self.get_submodule(name).eval()
        return self
