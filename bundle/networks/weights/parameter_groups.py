"""Parameters in groups for an optimiser: rates by part of the network, and no decay of what is no map."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

__all__ = ["parameter_groups"]


def parameter_groups(
    network: nn.Module, learning_rate: float, weight_decay: float, factors: Mapping[str, float] | None = None
) -> list[dict[str, Any]]:
    """Group the trained parameters of a network.

    Biases and the parameters of norms, all that has fewer than two axes, are not decayed.

    Args:
        network: without DDP around it.
        learning_rate: of all that `factors` does not name.
        weight_decay: of what has two axes or more.
        factors: what the rate is multiplied by, for parameters whose names begin with a key, such as
            `{"fusion": 5.0, "fusion.modality": 1.0}`; of several keys the longest counts. A part that the network was
            built without, which is None there, may be named.

    Returns:
        Groups for a `torch.optim` optimiser, each with `params`, `lr` and `weight_decay`, none of them empty; the order
        of groups and parameters follows from the network alone.

    Raises:
        ValueError: if a key is no part of the network, which would leave a rate without effect.

    Example:
        >>> groups = parameter_groups(network, 1e-5, 0.01, {"fusion": 5.0})  # doctest: +SKIP
        >>> torch.optim.AdamW(groups, lr=1e-5)  # doctest: +SKIP
    """
    factors = dict(factors or {})
    names = [name for name, _ in network.named_parameters()]
    unknown = [key for key in factors if not any(_within(name, key) for name in names) and not _left_out(network, key)]
    if unknown:
        parts = ", ".join(name for name, _ in network.named_children())
        kind = type(network).__name__
        raise ValueError(f"{kind} has no part {unknown[0]!r} to give a rate to; its parts are {parts}.")
    groups: dict[tuple[float, float], dict[str, Any]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            rate = learning_rate * _factor(name, factors)
            decay = weight_decay if parameter.ndim > 1 else 0.0
            group = groups.setdefault((rate, decay), {"params": [], "lr": rate, "weight_decay": decay})
            group["params"].append(parameter)
    return list(groups.values())


def _factor(name: str, factors: Mapping[str, float]) -> float:
    keys = [key for key in factors if _within(name, key)]
    return factors[max(keys, key=len)] if keys else 1.0


def _left_out(network: nn.Module, part: str) -> bool:
    return getattr(network, part, network) is None


def _within(name: str, part: str) -> bool:
    return name == part or name.startswith(f"{part}.")
