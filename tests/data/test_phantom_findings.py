"""Findings have the places they can have, and random sets show all of them without one hiding another."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from bundle.data.errors import DataError
from bundle.data.phantom_findings import CLASSES, Finding, all_findings, sample_findings


def draws(number: int) -> list[tuple[Finding, ...]]:
    return [sample_findings(np.random.default_rng([seed, 9])) for seed in range(number)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("fracture",), "fracture"),
        (("nodule", "left"), "zone None"),
        (("nodule", None, "upper"), "side None"),
        (("nodule", "central", "upper"), "side 'central'"),
        (("pleural effusion", "left", "lower"), "zone 'lower'"),
        (("cardiomegaly", "left"), "side 'left'"),
        (("pneumothorax", "left", None, "huge"), "size 'huge'"),
    ],
)
def test_impossible_findings_are_refused(arguments: tuple[str, ...], message: str) -> None:
    with pytest.raises(DataError, match=message):
        Finding(*arguments)


def test_mirrored_twice_is_the_same() -> None:
    for finding in all_findings():
        assert finding.mirrored().mirrored() == finding
        assert (finding.mirrored() == finding) == (finding.side is None)


def test_all_findings_lists_each_place_once() -> None:
    # two zoned findings on 2 sides in 3 zones, two pleural ones on 2 sides, one heart
    assert len(set(all_findings())) == len(all_findings()) == 2 * 6 + 2 * 2 + 1


def test_mix_of_findings() -> None:
    drawn = draws(2000)
    numbers = Counter(map(len, drawn))
    assert set(numbers) == {0, 1, 2, 3}
    assert 0.31 < numbers[0] / 2000 < 0.39, "about 35 % are normal"
    assert numbers[1] > numbers[2] > numbers[3] > 40
    places = Counter((finding.name, finding.side, finding.zone) for findings in drawn for finding in findings)
    assert len(places) == len(all_findings())
    names = Counter(finding.name for findings in drawn for finding in findings)
    assert max(names[name] for name in CLASSES) < 1.3 * min(names[name] for name in CLASSES)


def test_random_findings_do_not_share_a_place() -> None:
    for findings in draws(2000):
        for side in ("left", "right"):
            here = [finding for finding in findings if finding.side == side]
            zones = [finding.zone for finding in here if finding.zone]
            assert len(zones) == len(set(zones))
            pleural = [finding for finding in here if not finding.zone]
            assert len(pleural) <= 1
            if any(finding.name == "pleural effusion" for finding in pleural):
                assert "lower" not in zones
            if any(finding.name == "pneumothorax" for finding in pleural):
                assert "upper" not in zones
        names = [finding.name for finding in findings]
        assert names.count("cardiomegaly") <= 1
        if "cardiomegaly" in names:
            assert not any((finding.side, finding.zone) == ("left", "lower") for finding in findings)
