"""What tells one frozen encoder from another in a manifest."""

from __future__ import annotations

from typing import Any

from torch import nn

from bundle.networks.weights.fingerprint import fingerprint

__all__ = ["encoder_identity"]


def encoder_identity(encoder: nn.Module) -> dict[str, Any]:
    """Name, width and weights of an encoder, as JSON has them.

    Args:
        encoder: has `width`, the size of its features.

    Returns:
        `name`: of its class and, in brackets, of the network inside; `width`; `weights`: its `fingerprint`, other
        digits for any other bit.

    Example:
        >>> encoder_identity(PyramidTokens(TimmEncoder("resnet18")))["name"]  # doctest: +SKIP
        'PyramidTokens(TimmEncoder)'
    """
    inside = getattr(encoder, "encoder", None)
    name = type(encoder).__name__ + (f"({type(inside).__name__})" if inside is not None else "")
    return {"name": name, "width": encoder.width, "weights": fingerprint(encoder)}
