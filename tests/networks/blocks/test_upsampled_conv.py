"""The convolution of an upsampled map against upsampling, concatenating and convolving."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from bundle.networks.blocks.upsampled_conv import conv_of_upsampled


def _in_steps(coarse: Tensor, skip: Tensor | None, weight: Tensor) -> Tensor:
    upsampled = F.interpolate(coarse, scale_factor=2, mode="nearest")
    joined = upsampled if skip is None else torch.cat([skip, upsampled], 1)
    return F.conv2d(joined, weight, padding=1)


@given(
    batch=st.integers(1, 3),
    channels=st.integers(1, 5),
    skipped=st.integers(0, 4),
    out=st.integers(1, 4),
    height=st.integers(1, 5),
    width=st.integers(1, 5),
    seed=st.integers(0, 1000),
)
def test_value_and_gradients_are_those_of_the_steps(
    batch: int, channels: int, skipped: int, out: int, height: int, width: int, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True)

    coarse, weight = draw(batch, channels, height, width), draw(out, skipped + channels, 3, 3)
    skip = draw(batch, skipped, 2 * height, 2 * width) if skipped else None
    inputs = [x for x in (coarse, skip, weight) if x is not None]
    expected, found = _in_steps(coarse, skip, weight), conv_of_upsampled(coarse, skip, weight)
    torch.testing.assert_close(found, expected)
    direction = torch.randn(expected.shape, generator=generator, dtype=torch.float64)
    for own, stepwise in zip(
        torch.autograd.grad(found, inputs, direction), torch.autograd.grad(expected, inputs, direction), strict=True
    ):
        torch.testing.assert_close(own, stepwise)


def test_autocast_rounds_half_a_bit_more_than_the_steps() -> None:
    torch.manual_seed(0)
    coarse, skip, weight = torch.randn(2, 32, 8, 8), torch.randn(2, 16, 16, 16), torch.randn(8, 48, 3, 3) / 20
    exact = _in_steps(coarse, skip, weight)
    with torch.autocast("cpu", torch.bfloat16):
        errors = [(f(coarse, skip, weight).float() - exact).square().mean() for f in (_in_steps, conv_of_upsampled)]
    assert errors[1] < 2 * errors[0]  # two products are rounded to bf16, then their sum


@pytest.mark.parametrize("skipped", [0, 6])
def test_it_multiplies_less_and_gives_channels_last(skipped: int) -> None:
    from torch.utils.flop_counter import FlopCounterMode

    layout = torch.channels_last
    coarse = torch.randn(2, 12, 8, 8).to(memory_format=layout)
    skip = torch.randn(2, skipped, 16, 16).to(memory_format=layout) if skipped else None
    weight = torch.randn(4, skipped + 12, 3, 3)
    with FlopCounterMode(display=False) as counted:
        found = conv_of_upsampled(coarse, skip, weight)
    flops = {str(name): count for name, count in counted.get_flop_counts()["Global"].items() if "conv" in str(name)}
    full = 2 * 2 * 4 * 12 * 9 * 16 * 16
    assert sum(flops.values()) == full * 4 // 9 + full * skipped // 12
    assert found.is_contiguous(memory_format=layout)


def test_nothing_comes_from_the_host() -> None:
    """Numbers of the host would make every training step wait for the device."""

    class Recorded(TorchDispatchMode):
        def __init__(self) -> None:
            super().__init__()
            self.names: list[str] = []

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            self.names.append(func.name())
            return func(*args, **(kwargs or {}))

    def lifted(compute: Callable[[], Tensor]) -> bool:
        with Recorded() as recorded:
            compute()
        return "aten::lift_fresh" in recorded.names

    weight = torch.randn(2, 3, 3, 3)
    assert not lifted(lambda: conv_of_upsampled(torch.randn(1, 3, 4, 4), None, weight))
    assert lifted(lambda: weight * weight.new_tensor([2.0])), "what the test looks for"
