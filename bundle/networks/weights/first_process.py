"""One network in all processes."""

from __future__ import annotations

from typing import Any, TypeVar

import torch.distributed as dist
from torch import nn

__all__ = ["as_in_first_process"]

Network = TypeVar("Network", bound=nn.Module)


def as_in_first_process(network: Network) -> Network:
    """Give a network the weights that it has in the first process.

    Random weights are other ones in each process. DDP makes those of the network it wraps equal; this is for networks
    that are used beside it, such as the frozen encoder of a linear probe. All processes must come here.

    Args:
        network: changed in place.

    Returns:
        The network itself.
    """
    if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
        state: list[Any] = [network.state_dict() if dist.get_rank() == 0 else None]
        dist.broadcast_object_list(state, src=0)
        network.load_state_dict(state[0])
    return network
