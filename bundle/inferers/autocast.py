"""Reduced precision inside the network, and only there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from monai.inferers import Inferer

__all__ = ["AutocastInferer"]

_PRECISIONS = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


class AutocastInferer(Inferer):
    """Call the network under autocast on the input's device, CPU and CUDA alike.

    The losses run outside, in fp32; bf16 needs no gradient scaler.

    Args:
        precision: `bf16`, `fp16` or `fp32`. Training in fp16 needs a scaler, which is the trainer's `amp`; use it here
            for inference.

    Raises:
        ValueError: for another precision.
    """

    def __init__(self, precision: str = "bf16") -> None:
        super().__init__()
        if precision not in _PRECISIONS:
            raise ValueError(f"precision is one of {sorted(_PRECISIONS)}, not '{precision}'")
        self.dtype = _PRECISIONS[precision]

    def __call__(self, inputs: torch.Tensor, network: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Return `network(inputs, *args, **kwargs)`."""
        if self.dtype is None:
            return network(inputs, *args, **kwargs)
        with torch.autocast(inputs.device.type, dtype=self.dtype):
            return network(inputs, *args, **kwargs)
