"""One film as MONOCHROME1 and as MONOCHROME2: equal bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_files import write_dicom
from hypothesis import given
from hypothesis import strategies as st

from bundle.data.dicom_pixels import read_dicom
from bundle.data.errors import DataError


@pytest.fixture
def read(tmp_path: Path) -> Any:
    """Pixels read back from a file of the given codes and tags."""
    return lambda codes, bits=12, **tags: read_dicom(write_dicom(tmp_path / "file", codes, bits, **tags))[0]


def test_monochrome1_equals_its_monochrome2_twin(read: Any) -> None:
    codes = np.arange(4096).reshape(64, 64)
    twin = read(4095 - codes, PhotometricInterpretation="MONOCHROME1")
    assert np.array_equal(twin, read(codes))
    assert (twin[0, 0], twin[-1, -1]) == (0, 65535)


@given(
    bits=st.integers(6, 16),
    function=st.sampled_from(["", "LINEAR", "LINEAR_EXACT", "SIGMOID"]),
    centre=st.integers(0, 2**16),
    width=st.integers(2, 2**16),
    seed=st.integers(0, 2**32 - 1),
)
def test_twins_are_equal_bit_for_bit_under_any_window(
    tmp_path_factory: pytest.TempPathFactory, bits: int, function: str, centre: int, width: int, seed: int
) -> None:
    """Grey values that lie halfway between two levels are rounded alike. A linear window ends half a step aside."""
    white = 2**bits - 1
    codes = np.random.default_rng(seed).integers(0, white + 1, (8, 9))
    centre, width = centre % white, 2 + width % white
    aside = 1 if function == "LINEAR" else 0
    one: dict[str, Any] = {"PhotometricInterpretation": "MONOCHROME1"}
    two: dict[str, Any] = {}
    if function:
        one |= {"WindowCenter": white - centre + aside, "WindowWidth": width, "VOILUTFunction": function}
        two |= {"WindowCenter": centre, "WindowWidth": width, "VOILUTFunction": function}
    folder = tmp_path_factory.getbasetemp()
    one_file, two_file = write_dicom(folder / "one", white - codes, bits, **one), folder / "two"
    write_dicom(two_file, codes, bits, **two)
    try:
        shown = read_dicom(two_file)[0]
    except DataError:  # the window shows nothing
        with pytest.raises(DataError):
            read_dicom(one_file)
    else:
        assert np.array_equal(read_dicom(one_file)[0], shown)


@pytest.mark.parametrize("steps", [10, 34, 254])
def test_twins_round_halves_alike(read: Any, steps: int) -> None:
    """In each of these ranges some value lies halfway between two of the 65535 levels."""
    codes = np.arange(steps + 1)[None]
    assert np.isclose(codes * 65535 / steps % 1, 0.5).any()
    twin = read(4095 - codes, PhotometricInterpretation="MONOCHROME1")
    assert np.array_equal(twin, read(codes))
