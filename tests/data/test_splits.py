"""Splits by patient and nested subsets."""

from __future__ import annotations

import random
from collections import Counter, defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundle.data.errors import DataError
from bundle.data.splits import in_drawn_order, mark_subsets, split_by_group


@given(st.lists(st.integers(0, 400), min_size=3, max_size=300), st.integers(0, 5))
def test_no_group_straddles(numbers: list[int], seed: int) -> None:
    groups = [f"p{number}" for number in numbers]
    if len(set(groups)) < 3:
        with pytest.raises(DataError, match="too few for the splits"):
            split_by_group(groups, 0.1, 0.1, seed)
        return
    names = split_by_group(groups, 0.1, 0.1, seed)
    splits_of = defaultdict(set)
    for group, name in zip(groups, names, strict=True):
        splits_of[group].add(name)
    assert all(len(splits) == 1 for splits in splits_of.values())
    assert set(names) == {"training", "validation", "test"}


def test_shares_are_met() -> None:
    sizes = random.Random(0).choices(range(1, 6), k=2000)
    groups = [f"p{index}" for index, size in enumerate(sizes) for _ in range(size)]
    counts = Counter(split_by_group(groups, 0.1, 0.2, seed=4))
    assert counts["test"] == pytest.approx(0.2 * len(groups), abs=3)
    assert counts["validation"] == pytest.approx(0.1 * len(groups), abs=3)


def test_the_nearest_number_of_whole_groups_is_taken() -> None:
    groups = [f"p{index // 3}" for index in range(12)]  # 3 items each: 4.8 wanted is nearer to 6, 4.2 nearer to 3
    assert split_by_group(groups, 0, 0.4).count("test") == 6
    assert split_by_group(groups, 0, 0.35).count("test") == 3


def test_depends_on_the_seed_and_not_on_the_order() -> None:
    groups = [f"p{index}" for index in range(100)]
    split = dict(zip(groups, split_by_group(groups, 0.2, 0.2, seed=1), strict=True))
    shuffled = random.Random(0).sample(groups, k=100)
    assert dict(zip(shuffled, split_by_group(shuffled, 0.2, 0.2, seed=1), strict=True)) == split
    assert dict(zip(groups, split_by_group(groups, 0.2, 0.2, seed=2), strict=True)) != split


def test_splits_that_were_published_stay() -> None:
    # `printf 0:p2 | sha256sum` and so on: the hashes order the patients p2 p4 p5 p3 p6 p1.
    names = split_by_group(["p1", "p2", "p3", "p4", "p5", "p6"], 0.2, 0.2, seed=0)
    assert names == ["training", "test", "training", "validation", "training", "training"]


def test_a_share_of_zero_gets_nothing() -> None:
    assert set(split_by_group(["p1", "p2"], 0, 0.5)) == {"training", "test"}
    assert set(split_by_group(["p1"], 0, 0)) == {"training"}


def test_one_large_group_goes_where_it_must() -> None:
    names = split_by_group(["p1"] * 98 + ["p2", "p3"], 0.1, 0.1)
    assert len(set(names)) == 3


@pytest.mark.parametrize(("validation", "test"), [(0.5, 0.5), (-0.1, 0.2), (0, 1)])
def test_impossible_shares(validation: float, test: float) -> None:
    with pytest.raises(DataError, match="must leave something for training"):
        split_by_group(["p1", "p2", "p3"], validation, test)


def test_subsets_are_nested_and_sized() -> None:
    items = [{"id": f"i{index}", "text": "x"} for index in range(1255)]
    marked, header = mark_subsets(items, seed=42)
    assert header == {"1": {"seed": 42, "n": 12}, "10": {"seed": 42, "n": 125}, "100": {"seed": 42, "n": 1255}}
    assert [item["id"] for item in marked] == [item["id"] for item in items]
    assert Counter(tuple(item["subset"]) for item in marked) == {(1, 10, 100): 12, (10, 100): 113, (100,): 1130}
    assert "subset" not in items[0]


def test_subsets_depend_on_the_ids_only() -> None:
    items = [{"id": f"i{index}"} for index in range(200)]
    chosen = {item["id"]: item["subset"] for item in mark_subsets(items, seed=1)[0]}
    assert {item["id"]: item["subset"] for item in mark_subsets(items[::-1], seed=1)[0]} == chosen
    assert {item["id"]: item["subset"] for item in mark_subsets(items, seed=2)[0]} != chosen


def test_small_and_empty_training_splits() -> None:
    marked, header = mark_subsets([{"id": "a"}, {"id": "b"}], percents=(1, 100))
    assert sorted(item["subset"] for item in marked) == [[1, 100], [100]]
    assert header["1"]["n"] == 1
    assert mark_subsets([]) == ([], {"1": {"seed": 0, "n": 0}, "10": {"seed": 0, "n": 0}, "100": {"seed": 0, "n": 0}})


def test_drawn_order_is_that_of_the_subsets() -> None:
    items = [{"id": f"i{index}"} for index in range(200)]
    order = in_drawn_order(items, seed=3)
    assert in_drawn_order(items[::-1], seed=3) == order
    assert in_drawn_order(items, seed=4) != order
    assert sorted(item["id"] for item in order) == sorted(item["id"] for item in items)
    drawn = {item["id"] for item in mark_subsets(items, seed=3)[0] if 10 in item["subset"]}
    assert {item["id"] for item in order[:20]} == drawn
