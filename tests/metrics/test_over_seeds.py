from __future__ import annotations

from typing import Any

import pytest

from bundle.metrics.over_seeds import SeedsError, gather_results


def result(seed: int, value: float | None, **changes: Any) -> dict[str, Any]:
    low, high = (None, None) if value is None else (value - 0.1, value + 0.2)
    metrics = {"dice_pos": {"value": value, "low": low, "high": high, "n": 7}}
    facts = {"stage": "segmentation", "list": "l", "list_sha256": "ab", "protocol": "p", "git": "c0"}
    return {**facts, "seeds": [seed], "metrics": metrics, **changes}


def test_hand_values() -> None:
    gathered = gather_results([result(0, 0.5), result(1, 0.7), result(5, 0.9)])
    entry = gathered["metrics"]["dice_pos"]
    assert entry["value"] == pytest.approx(0.7)
    assert entry["low"] == pytest.approx(0.6)
    assert entry["high"] == pytest.approx(0.9)
    assert entry["deviation"] == pytest.approx(0.2)  # sqrt((.04 + 0 + .04) / 2)
    assert entry["per_seed"] == [0.5, 0.7, 0.9]
    assert entry["n"] == 7
    facts = {"stage": "segmentation", "list": "l", "list_sha256": "ab", "protocol": "p", "git": "c0"}
    assert {name: value for name, value in gathered.items() if name != "metrics"} == {**facts, "seeds": [0, 1, 5]}


def test_one_seed_has_no_deviation() -> None:
    entry = gather_results([result(3, 0.5)])["metrics"]["dice_pos"]
    assert (entry["value"], entry["deviation"], entry["per_seed"]) == (0.5, None, [0.5])


def test_a_metric_that_one_seed_lacks_has_no_mean() -> None:
    entry = gather_results([result(0, 0.5), result(1, None)])["metrics"]["dice_pos"]
    assert entry == {
        "value": None,
        "low": None,
        "high": None,
        "n": 7,
        "deviation": None,
        "per_seed": [0.5, None],
    }


def test_a_metric_without_interval_keeps_its_mean() -> None:
    ranks = [{"rank": {"value": value, "low": None, "high": None, "n": None}} for value in (2.0, 4.0)]
    entry = gather_results([result(seed, None, metrics=metrics) for seed, metrics in enumerate(ranks)])["metrics"][
        "rank"
    ]
    assert (entry["value"], entry["low"], entry["high"], entry["n"]) == (3.0, None, None, None)


def test_different_code_has_no_one_revision() -> None:
    assert gather_results([result(0, 0.5), result(1, 0.5, git="c1")])["git"] is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"stage": "detection"}, "stage is 'segmentation' for one and 'detection' for another"),
        ({"list_sha256": "cd"}, "list_sha256 is 'ab' for one and 'cd'"),
        ({"protocol": "q"}, "protocol is 'p'"),
        ({"seeds": [0]}, "a seed occurs twice"),
    ],
)
def test_runs_that_differ_in_more_than_their_seed_are_refused(changes: dict, said: str) -> None:
    with pytest.raises(SeedsError, match=said):
        gather_results([result(0, 0.5), result(1, 0.5, **changes)])


def test_a_metric_that_one_seed_does_not_name_has_no_mean() -> None:
    entry = gather_results([result(0, 0.5), result(1, 0.5, metrics={})])["metrics"]["dice_pos"]
    assert (entry["value"], entry["n"], entry["per_seed"]) == (None, None, [0.5, None])


def test_nothing_to_gather() -> None:
    with pytest.raises(SeedsError, match="train at least one seed"):
        gather_results([])
