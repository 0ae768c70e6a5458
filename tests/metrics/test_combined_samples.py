from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from bundle.metrics.combined_samples import MacroMean, RatioOfSums, over_classes
from bundle.metrics.samples import Samples, value_of


def numbers(*index: int) -> Tensor:
    return torch.tensor(index)


def test_a_ratio_sums_before_it_divides() -> None:
    pooled = RatioOfSums(np.array([2, 8]), np.array([8, 8]), numbers(0, 1))
    assert pooled.resampled(np.array([[1, 1], [1, 0], [3, 1]])).tolist() == [10 / 16, 2 / 8, 14 / 32]


def test_several_columns_are_averaged_and_undefined_together() -> None:
    both = RatioOfSums(np.array([[1, 0], [2, 3]]), np.array([[2, 0], [2, 4]]), numbers(0, 1))
    whole, first, second = both.resampled(np.array([[1, 1], [1, 0], [0, 1]]))
    assert whole == (3 / 4 + 3 / 4) / 2
    assert np.isnan(first)
    assert second == (1 + 3 / 4) / 2


def test_classes_may_know_different_items() -> None:
    first = Samples(torch.tensor([1.0, 0.0]), numbers(9, 2))
    second = Samples(torch.tensor([0.5, 0.0, 1.0]), numbers(4, 5, 9))
    macro = MacroMean.of([first, second])
    assert macro.index.tolist() == [2, 4, 5, 9]
    assert value_of(macro) == (1 / 2 + 1 / 2) / 2
    # Item 2 twice, item 4 once: 0 and .5; then item 5 alone, which the first class does not know.
    assert macro.resampled(np.array([[2, 1, 0, 0], [0, 0, 3, 0], [0, 0, 0, 2]])).tolist() == [0.25, 0, 1]


def test_a_mean_over_no_defined_class_is_undefined() -> None:
    empty = Samples(torch.zeros(0), torch.zeros(0, dtype=torch.int64))
    some = Samples(torch.ones(1), numbers(3))
    assert value_of(MacroMean.of([empty, some])) == 1
    assert np.isnan(MacroMean.of([empty, some]).resampled(np.array([[0]])))
    assert np.isnan(value_of(MacroMean.of([empty])))


@pytest.mark.parametrize("count", [1, 2])
def test_names_over_classes(count: int) -> None:
    classes = [{"dice": Samples(torch.tensor([float(k)]), numbers(0))} for k in range(count)]
    named = {name: value_of(sampled) for name, sampled in over_classes(["a", "b"][:count], classes).items()}
    assert named == ({"dice": 0} if count == 1 else {"dice": 0.5, "dice_a": 0, "dice_b": 1})
