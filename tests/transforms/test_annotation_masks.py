from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundle.data.errors import DataError
from bundle.transforms.annotation_masks import boxes_to_mask, polygons_to_mask, rle_to_mask


def encoded(mask: np.ndarray) -> str:
    """SIIM's relative run lengths, run by run as its description says."""
    numbers, position, end = [], 0, 0
    flat = mask.T.ravel()
    while position < flat.size:
        start = position
        while position < flat.size and flat[position] == flat[start]:
            position += 1
        if flat[start]:
            numbers += [start - end, position - start]
            end = position
    return " ".join(map(str, numbers))


def test_runs_go_down_the_columns_and_count_from_the_last() -> None:
    # 3 rows x 4 columns: skip 1, two pixels (rows 1, 2 of column 0); skip 3 (column 1), four (column 2, row 0 of 3)
    assert rle_to_mask(["1 2 3 4"], (3, 4)).astype(int).tolist() == [[0, 0, 1, 1], [1, 0, 1, 0], [1, 0, 1, 0]]


@given(st.data())
def test_what_is_encoded_comes_back(data: st.DataObject) -> None:
    rows, columns = data.draw(st.integers(1, 9)), data.draw(st.integers(1, 9))
    bits = data.draw(st.lists(st.booleans(), min_size=rows * columns, max_size=rows * columns))
    mask = np.array(bits).reshape(rows, columns)
    found = rle_to_mask([encoded(mask)], (rows, columns))
    assert found.dtype == bool
    assert np.array_equal(found, mask)


def test_several_codes_are_a_union_and_none_is_empty() -> None:
    assert rle_to_mask(["0 2", "1 3"], (2, 3)).astype(int).tolist() == [[1, 1, 0], [1, 1, 0]]
    assert not rle_to_mask([], (2, 3)).any()
    assert rle_to_mask(["0 6"], (2, 3)).all()


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("0 7", "reach pixel 7 of an image of 3 x 2 pixels"),
        ("3 2 1 1", "reach pixel 7"),
        ("-1", "no pairs"),
        ("2 -1", "no pairs"),
        ("1 2 3", "no pairs"),
        ("1.5 2", "other than whole numbers"),
        ("9" * 30 + " 1", "other than whole numbers"),
    ],
)
def test_wrong_codes(code: str, reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        rle_to_mask(["0 1", code], (2, 3))


def test_a_box_holds_the_pixels_whose_centres_it_holds() -> None:
    assert boxes_to_mask([[1, 0, 3, 2]], (3, 4)).astype(int).tolist() == [[0, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0]]
    # centres 0.5, 1.5, 2.5, 3.5: from 1.5 on (inside) to 2.5 (half-open: outside)
    assert boxes_to_mask([[1.5, 0.4, 2.5, 1.6]], (3, 4)).astype(int).tolist() == [
        [0, 1, 0, 0],
        [0, 1, 0, 0],
        [0, 0, 0, 0],
    ]
    assert not boxes_to_mask([[1.6, 0, 2.4, 3]], (3, 4)).any()
    assert boxes_to_mask([[0, 0, 1, 1], [3, 2, 4, 3]], (3, 4)).sum() == 2
    assert not boxes_to_mask([], (3, 4)).any()
    assert boxes_to_mask([[-5, -5, 50, 50]], (3, 4)).all()


corner = st.integers(0, 12)


@given(corner, corner, corner, corner)
def test_a_rectangle_is_the_same_as_box_and_as_polygon(x1: int, y1: int, x2: int, y2: int) -> None:
    left, right, top, bottom = min(x1, x2), max(x1, x2) + 1, min(y1, y2), max(y1, y2) + 1
    points = [[left, top], [right, top], [right, bottom], [left, bottom]]
    box = boxes_to_mask([[left, top, right, bottom]], (10, 11))
    assert np.array_equal(polygons_to_mask([points], (10, 11)), box)
    assert np.array_equal(polygons_to_mask([np.ravel(points)], (10, 11)), box)


def test_a_triangle_and_a_union() -> None:
    triangle = [[0, 0], [4, 0], [0, 4]]
    assert polygons_to_mask([triangle], (4, 4)).astype(int).tolist() == [
        [1, 1, 1, 1],  # the centre (3.5, 0.5) lies on the edge x + y = 4
        [1, 1, 1, 0],
        [1, 1, 0, 0],
        [1, 0, 0, 0],
    ]
    both = polygons_to_mask([triangle, [[3, 3], [4, 3], [4, 4], [3, 4]]], (4, 4))
    assert both[3, 3]
    assert both.sum() == 11
    assert not polygons_to_mask([], (4, 4)).any()


@pytest.mark.parametrize("polygon", [[[0, 0], [1, 1]], [0, 0, 1, 1, 2], []])
def test_fewer_than_three_points(polygon: list) -> None:
    with pytest.raises(DataError, match="at least three points"):
        polygons_to_mask([polygon], (4, 4))
