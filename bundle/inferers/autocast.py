"""Reduced precision inside the network, and only there."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from monai.inferers import Inferer
from torch.nn.attention import SDPBackend, sdpa_kernel

__all__ = ["AutocastInferer"]

_PRECISIONS = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


class AutocastInferer(Inferer):
    """Call the network under autocast on the input's device, CPU and CUDA alike.

    The losses run outside, in fp32; bf16 needs no gradient scaler.

    Args:
        precision: `bf16`, `fp16` or `fp32`. Training in fp16 needs a scaler, which is the trainer's `amp`; use it here
            for inference.
        attention: name of the one kernel of `torch.nn.attention.SDPBackend` that attention is computed with, such as
            "math"; None: torch chooses. On CPUs the kernel that torch chooses is slow in bf16 and for short sequences.

    Raises:
        ValueError: for another precision or kernel.
    """

    def __init__(self, precision: str = "bf16", attention: str | None = None) -> None:
        super().__init__()
        if precision not in _PRECISIONS:
            raise ValueError(f"precision is one of {sorted(_PRECISIONS)}, not '{precision}'")
        kernels = {name.lower(): kernel for name, kernel in SDPBackend.__members__.items() if kernel.value >= 0}
        if attention is not None and attention not in kernels:
            raise ValueError(f"attention is one of {sorted(kernels)} or null, not '{attention}'")
        self.dtype = _PRECISIONS[precision]
        self.kernel = None if attention is None else kernels[attention]

    def __call__(self, inputs: torch.Tensor, network: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Return `network(inputs, *args, **kwargs)`."""
        with self._precision(inputs.device.type), self._attention():
            return network(inputs, *args, **kwargs)

    def _precision(self, device: str) -> AbstractContextManager:
        return nullcontext() if self.dtype is None else torch.autocast(device, dtype=self.dtype)

    def _attention(self) -> AbstractContextManager:
        return nullcontext() if self.kernel is None else sdpa_kernel(self.kernel)
