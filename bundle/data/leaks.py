"""What two splits of a data list share: images and patients that should be in one of them only."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import Any

from bundle.data.datalist_form import SPLITS

__all__ = ["find_leaks"]


def find_leaks(datalist: Mapping[str, Any]) -> dict[str, dict[str, int]]:
    """Count what every two splits share.

    Args:
        datalist: a list that passed `bundle.data.datalist_form.check_form`.

    Returns:
        For every two splits that share something, by both names, such as "training-test", how many different `images`
        and `patients` are in both. Patients that the header's `split` calls `joined` count as one.

    Example:
        >>> item = {"image": "a.png", "patient": "p1"}
        >>> find_leaks({"training": [{"id": "a", **item}], "test": [{"id": "b", **item}]})
        {'training-test': {'images': 1, 'patients': 1}}
    """
    names = {split: _members(datalist, split) for split in SPLITS if datalist.get(split)}
    shared = {
        f"{first}-{second}": {kind: len(names[first][kind] & names[second][kind]) for kind in names[first]}
        for first, second in combinations(names, 2)
    }
    return {pair: counts for pair, counts in shared.items() if any(counts.values())}


def _members(datalist: Mapping[str, Any], split: str) -> dict[str, set[str]]:
    person_of = {patient: group[0] for group in datalist.get("split", {}).get("joined", []) for patient in group}
    items = datalist[split]
    patients = (item["patient"] for item in items if "patient" in item)
    return {
        "images": {item["image"] for item in items},
        "patients": {person_of.get(patient, patient) for patient in patients},
    }
