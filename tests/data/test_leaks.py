"""What two splits share: images and patients, each counted once."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from bundle.data.leaks import find_leaks


def _items(*pairs: str) -> list[dict[str, Any]]:
    """Items from "image patient" or "image" alone."""
    split = [pair.split() for pair in pairs]
    return [
        {"id": f"{number} {pair}", "image": words[0], **dict(zip(["patient"], words[1:], strict=False))}
        for number, (pair, words) in enumerate(zip(pairs, split, strict=True))
    ]


def test_splits_that_share_nothing() -> None:
    assert find_leaks({"training": _items("a p1", "b p1"), "test": _items("c p2")}) == {}
    assert find_leaks({"training": _items("a p1", "a p1")}) == {}


def test_images_and_patients_are_counted_once_a_pair_of_splits() -> None:
    datalist = {
        "training": _items("a p1", "b p1", "c p2", "c p2", "d p3"),
        "validation": _items("c p2", "c p2", "e p1"),
        "test": _items("d p3", "f p4", "e p1"),
    }
    assert find_leaks(datalist) == {
        "training-validation": {"images": 1, "patients": 2},  # c; p1 and p2
        "training-test": {"images": 1, "patients": 2},  # d; p1 and p3
        "validation-test": {"images": 1, "patients": 1},  # e; p1
    }


def test_a_pair_without_leak_is_left_out() -> None:
    datalist = {"training": _items("a p1"), "validation": _items("b p2"), "test": _items("c p1")}
    assert find_leaks(datalist) == {"training-test": {"images": 0, "patients": 1}}


def test_unknown_patients_are_not_taken_for_one_person() -> None:
    assert find_leaks({"training": _items("a", "b"), "test": _items("c", "d")}) == {}
    assert find_leaks({"training": _items("a"), "test": _items("a")}) == {"training-test": {"images": 1, "patients": 0}}


def test_joined_patients_are_one() -> None:
    datalist = {"training": _items("a 97"), "test": _items("b 178"), "split": {"joined": [["178", "97"]]}}
    assert find_leaks(datalist) == {"training-test": {"images": 0, "patients": 1}}
    two = {"training": _items("a 97", "c 178"), "test": _items("b 178"), "split": {"joined": [["178", "97"]]}}
    assert find_leaks(two) == {"training-test": {"images": 0, "patients": 1}}


def test_empty_and_absent_splits() -> None:
    assert find_leaks({"training": _items("a p1"), "validation": []}) == {}


_SPLIT = st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from("pqrst")), min_size=1, max_size=6)


@given(_SPLIT, _SPLIT)
def test_agrees_with_counting_by_hand(training: list[tuple[str, str]], test: list[tuple[str, str]]) -> None:
    datalist = {name: _items(*map(" ".join, pairs)) for name, pairs in (("training", training), ("test", test))}
    images = sum(any(image == other for other, _ in test) for image in {image for image, _ in training})
    patients = sum(any(patient == other for _, other in test) for patient in {patient for _, patient in training})
    expected = {"training-test": {"images": images, "patients": patients}} if images or patients else {}
    assert find_leaks(datalist) == expected
