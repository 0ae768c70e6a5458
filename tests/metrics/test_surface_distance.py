from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import binary_erosion
from torch import Tensor

from bundle.metrics.surface_distance import SurfaceDistanceMetric

NAN = math.nan


def square(row: int, column: int, size: int = 5) -> Tensor:
    mask = torch.zeros(1, 16, 16, dtype=torch.bool)
    mask[0, row : row + size, column : column + size] = True
    return mask


EMPTY = square(0, 0, 0)


def measured(
    predicted: list[Tensor], label: list[Tensor], spacing: list[list[float]] | None = None
) -> tuple[dict[str, float], dict[str, list[int]]]:
    """Metrics, and for each of them the numbers of its images."""
    metric = SurfaceDistanceMetric([f"class {k}" for k in range(len(label[0]))])
    target = {"label": torch.stack(label), "index": torch.arange(len(label)) + 10}
    if spacing is not None:
        target["spacing"] = torch.tensor(spacing)
    metric(torch.stack(predicted).float() * 2 - 1, target)
    return metric.aggregate(), {name: sampled.index.tolist() for name, sampled in metric.samples().items()}


def by_brute_force(first: Tensor, second: Tensor, spacing: list[float]) -> float:
    """All distances between the outlines of two masks, with nothing of MONAI."""
    outlines = []
    for mask in (first[0].numpy(), second[0].numpy()):
        outlines.append(np.argwhere(mask & ~binary_erosion(mask)) * np.array(spacing))
    distances = np.linalg.norm(outlines[0][:, None] - outlines[1], axis=-1)
    return max(np.percentile(distances.min(side), 95) for side in (0, 1))


def test_single_pixels_are_as_far_apart_as_the_spacing_says() -> None:
    spacing = [2.0, 0.5]  # mm of a row, of a column
    assert measured([square(4, 4, 1)], [square(4, 7, 1)], [spacing])[0]["hd95_mm"] == pytest.approx(3 * 0.5)
    assert measured([square(4, 4, 1)], [square(7, 4, 1)], [spacing])[0]["hd95_mm"] == pytest.approx(3 * 2.0)
    both = measured([square(4, 4, 1)], [square(7, 8, 1)], [spacing])[0]
    assert both == pytest.approx({"hd95_mm": math.hypot(3 * 2.0, 4 * 0.5), "hd95_missed": 0})


def test_squares_three_pixels_apart() -> None:
    # Of 16 outline pixels the five of the far side are 3 columns away: more than one in twenty.
    predicted, label = square(4, 4), square(4, 7)
    for spacing, distance in (([2.0, 0.5], 1.5), ([1.0, 1.0], 3.0), ([0.5, 4.0], None)):
        found = measured([predicted], [label], [spacing])[0]["hd95_mm"]
        assert found == pytest.approx(by_brute_force(predicted, label, spacing))
        assert distance is None or found == pytest.approx(distance)


def test_a_far_single_pixel_among_many_is_within_the_five_percent() -> None:
    label = square(2, 2, 9)  # 32 pixels of outline
    predicted = label.clone()
    predicted[0, 15, 15] = True
    assert measured([predicted], [label], [[1.0, 1.0]])[0]["hd95_mm"] == 0


def test_masks_at_the_border_have_an_outline_there() -> None:
    predicted, label = square(0, 0), square(11, 11)
    expected = by_brute_force(predicted, label, [1.0, 2.0])
    assert measured([predicted], [label], [[1.0, 2.0]])[0]["hd95_mm"] == pytest.approx(expected)


def test_images_without_outline_or_spacing_are_told_apart() -> None:
    predicted = [square(4, 4), square(4, 4), EMPTY, square(1, 1), EMPTY, square(4, 5, 1)]
    label = [square(4, 7), square(4, 4), square(4, 4), EMPTY, EMPTY, square(4, 7, 1)]
    spacing = [[2.0, 0.5], [1.0, 1.0], [1.0, 1.0], [1.0, 1.0], [1.0, 1.0], [NAN, NAN]]
    values, index = measured(predicted, label, spacing)
    assert values == pytest.approx({"hd95_mm": (1.5 + 0) / 2, "hd95_px": 2, "hd95_missed": 1 / 4})
    assert index == {"hd95_mm": [10, 11], "hd95_px": [15], "hd95_missed": [10, 11, 12, 15]}


def test_without_spacing_distances_are_in_pixels() -> None:
    values, _ = measured([square(4, 4)], [square(4, 7)])
    assert values == {"hd95_px": 3, "hd95_missed": 0}


def test_where_nothing_is_found_there_is_no_distance() -> None:
    assert measured([EMPTY], [square(4, 4)], [[1.0, 1.0]])[0] == {"hd95_missed": 1}
    assert measured([EMPTY], [EMPTY], [[1.0, 1.0]])[0] == {}


def test_several_classes() -> None:
    predicted, label = torch.cat([square(4, 4), EMPTY]), torch.cat([square(4, 7), square(1, 1)])
    values, _ = measured([predicted], [label], [[1.0, 1.0]])
    assert values == {
        "hd95_mm": 3,
        "hd95_mm_class_0": 3,
        "hd95_missed": 0.5,
        "hd95_missed_class_0": 0,
        "hd95_missed_class_1": 1,
    }
