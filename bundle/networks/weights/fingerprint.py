"""A network's identity: what is computed with it may be kept as long as this does not change."""

from __future__ import annotations

import hashlib

import torch
from torch import nn

__all__ = ["fingerprint"]


def fingerprint(network: nn.Module) -> str:
    """SHA-256 of a network's layers, as it prints them, and of its tensors.

    Args:
        network: on any device.

    Returns:
        64 hexadecimal digits; others for another stride or dilation, and for any other bit of weights or statistics.

    Example:
        >>> fingerprint(nn.Identity())[:8]
        'd46a436b'
    """
    digest = hashlib.sha256(repr(network).encode())
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(f"\n{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()
