"""Moving pixels, against the plain definition."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from bundle.transforms.moved import moved


@given(by=st.integers(-9, 9), height=st.integers(1, 6), width=st.integers(1, 6))
def test_each_pixel_comes_from_where_it_was_or_from_the_edge(by: int, height: int, width: int) -> None:
    pixels = torch.arange(2 * height * width).reshape(2, 1, height, width)
    after = moved(pixels, by)
    for row in range(height):
        for column in range(width):
            source = (min(max(row - by, 0), height - 1), min(max(column - by, 0), width - 1))
            assert torch.equal(after[..., row, column], pixels[..., source[0], source[1]])


def test_types_stay() -> None:
    assert moved(torch.ones(1, 1, 4, 4, dtype=torch.bool), 2).dtype == torch.bool
